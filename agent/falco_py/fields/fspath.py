# SPDX-License-Identifier: Apache-2.0
"""Fields of the paths that a call acts on: `fs.path.*`.

Only calls that succeeded have them. A call has either one path (`name`) or two (`source` and `target`).
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from falco_py.events.record import absolute_path

from .evt import param
from .model import Field, FieldType, row

if TYPE_CHECKING:
    from falco_py.events.event import Event

T = FieldType

OF_FD = ""  # the path is that of the event's fd
ONE_PATH: dict[str, str] = {
    "mkdir": "path",
    "mkdirat": "path",
    "rmdir": "path",
    "unlink": "path",
    "unlinkat": "name",
    "open": OF_FD,
    "openat": OF_FD,
    "openat2": OF_FD,
    "creat": OF_FD,
    "chmod": "filename",
    "fchmodat": "filename",
    "fchmod": OF_FD,
    "chown": "path",
    "lchown": "path",
    "fchownat": "pathname",
    "fchown": OF_FD,
    "quotactl": "special",
    "umount": "name",
    "umount2": "name",
}
# For links, Falco's source is the new name and its target what exists.
TWO_PATHS: dict[str, tuple[str, str]] = {
    "rename": ("oldpath", "newpath"),
    "renameat": ("oldpath", "newpath"),
    "renameat2": ("oldpath", "newpath"),
    "mount": ("dev", "dir"),
    "link": ("newpath", "oldpath"),
    "linkat": ("newpath", "oldpath"),
    "symlink": ("linkpath", "target"),
    "symlinkat": ("linkpath", "target"),
}


def fs_path_name(e: Event, raw: bool = False) -> str | None:
    name = ONE_PATH.get(e.name)
    if name is None or not _succeeded(e):
        return None
    if name == OF_FD:
        return e.fd_nameraw if raw else e.fd_name
    return _path(e, param(e, name), raw)


def fs_path_pair(e: Event, index: int, raw: bool = False) -> str | None:
    names = TWO_PATHS.get(e.name)
    if names is None or not _succeeded(e):
        return None
    value = param(e, names[index])
    if isinstance(value, str) and not raw and names[index] == "target":
        return absolute_path(value, getattr(param(e, names[0]), "base", None)) or _unknown(value)
    return _path(e, value, raw)


def _succeeded(e: Event) -> bool:
    result = e.res
    return result is not None and result >= 0


def _path(e: Event, value: Any, raw: bool) -> str | None:
    if value is None:
        return None
    if isinstance(value, str):
        return value if raw else absolute_path(value, e.process.cwd or None) or _unknown(value)
    passed = getattr(value, "raw", None)
    if passed is None:
        return None
    return str(passed) if raw else value.absolute or _unknown(str(passed))


def _unknown(relative: str) -> str:
    return f"<UNKNOWN>/{relative}"


_K = "fspath"
_row = partial(row, _K)
ROWS: tuple[Field, ...] = (
    _row("fs.path.name", T.CHARBUF, "Absolute path that a successful call acted on.", "fs_path_name(e)"),
    _row("fs.path.nameraw", T.CHARBUF, "The same path as it was passed.", "fs_path_name(e, True)"),
    _row(
        "fs.path.source",
        T.CHARBUF,
        "First path of a successful call that has two: the old name of a rename, the device of a mount; for "
        "links the new name.",
        "fs_path_pair(e, 0)",
    ),
    _row("fs.path.sourceraw", T.CHARBUF, "The same path as it was passed.", "fs_path_pair(e, 0, True)"),
    _row(
        "fs.path.target",
        T.CHARBUF,
        "Second path of a successful call that has two: the new name of a rename, the directory of a mount; for "
        "links what they point to.",
        "fs_path_pair(e, 1)",
    ),
    _row("fs.path.targetraw", T.CHARBUF, "The same path as it was passed.", "fs_path_pair(e, 1, True)"),
)
