# SPDX-License-Identifier: Apache-2.0
"""The event table becomes docs/events.md: every event with its parameters, and the names of flags."""

from __future__ import annotations

from typing import TYPE_CHECKING

from falco_py.events.flags import TABLES
from falco_py.events.syscalls import NEVER, ROWS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from falco_py.events.model import Param, Row

_TEMPLATE = """\
# Events

Made by `make docs`. An event is made when a system call returns, and when a process ends (`procexit`). Its name is what
`evt.type` gives. `falco-py --list-events` shows names and parameters on a terminal.

`evt.arg.NAME` (or `evt.arg[N]`, from 0) is the text of a parameter, `evt.rawarg.NAME` its value, `evt.args` all of
them. A parameter that is empty prints as `<NA>`; a parameter that the event does not have is missing.
"""
_WIDTH = 120
# Types of parameters: what evt.rawarg and evt.arg give; the digits behind a type are its width.
_TYPES = {
    "ABSTIME": ("ns since 1970", "date and time"),
    "BYTEBUF": ("bytes", "the printable ones, dots for the others"),
    "CHARBUF": ("text", "the same"),
    "DYN": ("as the option of the call says", "the same"),
    "ENUMFLAGS": ("number", "the name of the value"),
    "ERRNO": ("number", "the name of the error when it is negative, else the number"),
    "FD": ("number", "what is behind it, as `<f>/etc/passwd`; `AT_FDCWD`; the name of an error"),
    "FDLIST": ("none", "fds with what is waited for"),
    "FLAGS": ("number", "the names of the bits, joined by `\\|`"),
    "FSPATH": ("path as passed", "made absolute from the working directory"),
    "FSRELPATH": ("path as passed", "made absolute from the directory that was passed"),
    "GID": ("number", "the name of the group"),
    "INT": ("number", "the same"),
    "MODE": ("number", "the names of the bits, joined by `\\|`"),
    "PID": ("number", "the name of the process when it is known"),
    "RELTIME": ("ns", "seconds"),
    "SIGSET": ("number", "the names of the signals"),
    "SIGTYPE": ("number", "the name of the signal"),
    "SOCKADDR": ("bytes", "address and port, or path"),
    "SOCKTUPLE": ("bytes", "addresses and ports of both ends, or paths"),
    "UID": ("number", "the name of the user"),
    "UINT": ("number", "the same"),
}


def page() -> str:
    rows = sorted((row for row in ROWS.values() if not row.generic), key=lambda row: row.name)
    categories = sorted({row.category for row in rows})
    parts = [_TEMPLATE, _types(rows)]
    parts += [_category(category, [row for row in rows if row.category == category]) for category in categories]
    generic = sorted(row.name for row in ROWS.values() if row.generic)
    about = "They have no result and no parameters but `ID`, which is the name of the call again."
    parts.append(_names("Calls of which only the name is known", about, generic))
    parts.append(
        _names("Names that load and never happen", "Falco makes such events; a rule on them gets a warning.", NEVER)
    )
    parts.append(_flags(rows))
    return "\n".join(parts)


def _types(rows: list[Row]) -> str:
    widths: dict[str, set[int]] = {}
    for kind in (param.type for row in rows for param in _shown(row)):
        plain = kind.rstrip("0123456789")
        widths.setdefault(plain, set()).update({int(kind.removeprefix(plain))} if kind != plain else ())
    lines = ["| type | `evt.rawarg` | `evt.arg` |", "| --- | --- | --- |"]
    for kind in sorted(widths):
        names = ", ".join(f"{kind}{bits}" for bits in sorted(widths[kind])) or kind
        lines.append(f"| {names} | {' | '.join(_TYPES[kind])} |")
    return "\n".join(lines) + "\n"


def _category(name: str, rows: list[Row]) -> str:
    lines = [f"## Category `{name}`", "", "| event | parameters |", "| --- | --- |"]
    lines += [f"| `{row.name}` | {', '.join(map(_param, _shown(row)))} |" for row in rows]
    return "\n".join(lines) + "\n"


def _shown(row: Row) -> list[Param]:
    return [param for param in row.params if not param.name.startswith("_")]


def _param(param: Param) -> str:
    table = f" ([{param.table}](#{param.table}))" if param.table in TABLES else ""
    return f"`{param.name}` {param.type}{table}"


def _names(title: str, about: str, names: Iterable[str]) -> str:
    lines = [""]
    for name in (f"`{name}`" for name in sorted(names)):
        joined = f"{lines[-1]} {name}".lstrip()
        lines[-1:] = [joined] if len(joined) <= _WIDTH else [lines[-1], name]
    return "\n".join([f"## {title}", "", about, "", *lines]) + "\n"


def _flags(rows: list[Row]) -> str:
    used = sorted({param.table for row in rows for param in _shown(row) if param.table in TABLES})
    parts = ["## Names of flags\n\nIn the order in which they are printed, with their values.\n"]
    for table in used:
        words = " ".join(f"`{name}=0x{value:x}`" for name, value in TABLES[table])
        parts.append(f"### {table}\n\n{words}\n")
    return "\n".join(parts)
