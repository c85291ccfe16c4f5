# SPDX-License-Identifier: Apache-2.0
"""Files of container runtimes become JSON values, as bytes that may be anything and anywhere.

Invariant: nothing here raises, waits, reads more than a bound, or leaves the directory it was given through a symbolic
link; below another root than / links lead where the host would follow them. What is wrong is counted by reason.
"""

from __future__ import annotations

import errno
import json
import os
import stat
from collections import Counter
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

from .boltdb import DamagedError, read

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from .boltdb import State

T = TypeVar("T")

SIZE_MAX: Final = 1 << 20
NAMES_MAX: Final = 64  # of a directory
_LINKS_MAX: Final = 40
_KEPT_MAX: Final = 16  # files that are read again only when they changed
_TOP: Final = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
_BELOW: Final = _TOP | os.O_NOFOLLOW
_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
REASONS: Final = ("kind", "link", "shape", "size", "syntax", "unexpected", "unreadable")
_BY_ERROR: Final = {errno.ELOOP: "link", errno.ENOTDIR: "kind", errno.EISDIR: "kind", errno.ENXIO: "kind"}


class _Kept(NamedTuple):
    signature: tuple[int, ...]
    value: Any


class Files:
    """`root` is where the host's file system is seen. `failures` counts by one of `REASONS`."""

    def __init__(self, root: Path | str = "/") -> None:
        self.root = str(root).rstrip("/")
        self.failures: Counter[str] = Counter(dict.fromkeys(REASONS, 0))
        self._kept: dict[tuple[str, ...], _Kept] = {}

    def place(self, directory: str) -> str:
        """Where a directory of the host is seen from here; "" when its links go round."""
        if not self.root:
            return directory
        here: list[str] = []
        left = [part for part in reversed(directory.split("/")) if part]
        links = 0
        while left:
            part = left.pop()
            if part == ".":
                continue
            if part == "..":
                del here[-1:]
                continue
            try:
                target = os.readlink("/".join((self.root, *here, part)))
            except OSError:
                here.append(part)
                continue
            links += 1
            if links > _LINKS_MAX:
                return ""
            if target.startswith("/"):
                here.clear()
            left += [part for part in reversed(target.split("/")) if part]
        return "/".join((self.root, *here))

    def names(self, directory: str, most: int = NAMES_MAX) -> list[str]:
        """What is in a directory, in order, as far as it is looked at."""
        found = []
        try:
            with os.scandir(self.place(directory)) as entries:
                for entry in entries:
                    found.append(entry.name)
                    if len(found) >= most:
                        break
        except OSError:
            return []
        return sorted(found)

    def read(self, directory: str, *names: str) -> dict[str, Any] | None:
        """The object in a file below `directory`; None when there is none."""
        return self._object(self._value((directory, *names), keep=False))

    def kept(self, directory: str, *names: str) -> Any:
        """The value in a file that many containers share: it is read again when it has changed."""
        return self._value((directory, *names), keep=True)

    def database(self, look: Callable[[State], T], directory: str, *names: str) -> T | None:
        """What `look` finds in a bbolt database; None when there is none."""
        file = self._opened((directory, *names))
        if file is None:
            return None
        try:
            return read(file, look)
        except DamagedError:
            self._fail("syntax")
        except OSError:
            self._fail("unreadable")
        finally:
            os.close(file)
        return None

    def parsed(self, text: str | bytes) -> dict[str, Any]:
        """The object in a text that stood in a file; empty when there is none."""
        return self._object(self._json(text)) or {} if text else {}

    def _object(self, value: Any) -> dict[str, Any] | None:
        if value is None or isinstance(value, dict):
            return value
        self._fail("shape")
        return None

    def _json(self, raw: bytes | str) -> Any:
        try:
            return json.loads(raw)
        except (ValueError, RecursionError):
            return self._fail("syntax")

    def _value(self, path: tuple[str, ...], keep: bool) -> Any:
        file = self._opened(path)
        if file is None:
            return None
        try:
            status = os.fstat(file)
            signature = status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
            known = self._kept.get(path) if keep else None
            if known is not None and known.signature == signature:
                return known.value
            if status.st_size > SIZE_MAX:
                return self._fail("size")
            raw = _all(file)
        except OSError:
            return self._fail("unreadable")
        finally:
            os.close(file)
        if len(raw) > SIZE_MAX:
            return self._fail("size")
        value = self._json(raw)
        if keep:
            if len(self._kept) >= _KEPT_MAX:
                self._kept.clear()
            self._kept[path] = _Kept(signature, value)
        return value

    def _opened(self, path: tuple[str, ...]) -> int | None:
        """A regular file."""
        try:
            file = self._open(path)
            if stat.S_ISREG(os.fstat(file).st_mode):
                return file
            os.close(file)
            self._fail("kind")
        except OSError as error:
            if error.errno != errno.ENOENT:
                self._fail(_BY_ERROR.get(error.errno or 0, "unreadable"))
        except ValueError:  # a NUL in a name
            self._fail("unreadable")
        return None

    def _open(self, path: tuple[str, ...]) -> int:
        """Only what leads to the directory may be a link. Raises OSError."""
        directory = os.open(self.place(path[0]), _TOP)
        try:
            for name in path[1:-1]:
                below = os.open(name, _BELOW, dir_fd=directory)
                os.close(directory)
                directory = below
            return os.open(path[-1], _FILE, dir_fd=directory)
        finally:
            os.close(directory)

    def _fail(self, reason: str) -> Any:
        self.failures[reason] += 1
        return None


def _all(file: int) -> bytes:
    """Up to one byte more than allowed. Raises OSError."""
    chunks = []
    left = SIZE_MAX + 1
    while left > 0 and (chunk := os.read(file, left)):
        chunks.append(chunk)
        left -= len(chunk)
    return b"".join(chunks)
