# SPDX-License-Identifier: Apache-2.0
"""An event becomes the call that the kernel's filter saw: what it knew before it let the record through.

Invariant: what cannot be told any more is left unknown, so the model of the filter leaves no fewer clauses than the
kernel did.
"""

from __future__ import annotations

from collections import Counter
from functools import lru_cache
from typing import TYPE_CHECKING

from ..events.descriptor import DIRECTORY, IPV4, IPV6, NETLINK, PIPE, UNIX
from ..events.flags import translate
from ..events.model import RESULT
from ..events.syscalls import ROWS
from ..events.text import find_param
from .decisions import OPEN_CLASSES, OTHER_KIND, VALUES, Opened
from .pushdown import Call
from .tables import CREAT_CALL, FILTERED_OPENS, UNKNOWN_OPEN, bits_of, value_parameter

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..events.event import Event

_KIND = {DIRECTORY: 0, PIPE: 1, UNIX: 8, NETLINK: 9}
_INET_KIND = {"tcp": 5, "udp": 6}  # an IPv4 socket may be one of AF_INET6
_OTHER_INET = 7
_ACCESS = {1: 0, 2: 1, 3: 2}  # Falco's O_RDONLY, O_WRONLY, O_RDWR
_ACCESS_BITS, _CREAT, _TRUNC, _TMPFILE = 3, 0x4, 0x100, 0x2000
_OPEN_NUMBER = {opened: number for number, opened in enumerate(OPEN_CLASSES)}
_DOUBTFUL = frozenset(("", ".", ".."))


def call_of(event: Event) -> Call:
    """`process` is left out: see Learner.left_of."""
    name = event.name
    header = event.header
    opened, kind, number, spellings = UNKNOWN_OPEN, OTHER_KIND, None, None
    if name in FILTERED_OPENS:
        opened = _opened(event, name)
        spellings = _spellings(event)
    elif event.row.fd is not None and (header.ret >= 0 or event.row.fd != RESULT):
        kind = _kind(event)
        number = event.fd.num if event.fd is not None and event.row.fd != RESULT else None
    value = _value(event, name)
    return Call(
        name, header.ret, opened=opened, name=header.comm, kind=kind, number=number, value=value, spellings=spellings
    )


def _kind(event: Event) -> int:
    found = event.fd_kind
    if found in (IPV4, IPV6):
        return _INET_KIND.get(event.fd_l4proto or "", _OTHER_INET)
    return OTHER_KIND if found is None else _KIND.get(found, OTHER_KIND)


def _opened(event: Event, name: str) -> int:
    if name == "creat":
        return CREAT_CALL
    index = find_param(event.row, "flags")
    flags = None if index is None or name == "openat2" else event.arg(index)
    if not isinstance(flags, int):
        return UNKNOWN_OPEN
    access = _ACCESS.get(flags & _ACCESS_BITS, 0)
    return _OPEN_NUMBER[Opened(access, bool(flags & _CREAT), bool(flags & _TRUNC), bool(flags & _TMPFILE))]


def _spellings(event: Event) -> tuple[str, ...] | None:
    """None when the kernel may not have followed one of them by its text."""
    passed, fd = event.opened_as, event.fd
    if passed is None or passed.truncated or not _DOUBTFUL.isdisjoint(passed.raw.removeprefix("/").split("/")):
        return None
    absolute = passed.absolute
    resolved = None if fd is None or fd.num < 0 else fd.name
    if absolute is None or (fd is not None and fd.truncated):
        return None
    return (absolute,) if resolved is None or resolved == absolute else (resolved, absolute)


def _value(event: Event, name: str) -> int | None:
    param = value_parameter(event.row)
    index = None if param is None else find_param(event.row, param.name)
    value = None if index is None else event.arg(index)
    if param is None or not isinstance(value, int):
        return None
    bits = bits_of(param)
    if not bits:
        return _values(name).get(value)
    shown = [translate(param.table or "", 1 << bit) for bit in bits]
    return sum((value & one == one) << place for place, one in enumerate(shown))


@lru_cache(maxsize=1024)
def _values(name: str) -> Mapping[int, int]:
    """The value of the argument register for what the event shows, where only one is shown so."""
    param = value_parameter(ROWS[name])
    if param is None or bits_of(param):
        return {}
    table = param.table
    shown = [translate(table, value) if table is not None else value for value in range(VALUES)]
    count = Counter(shown)
    return {one: value for value, one in enumerate(shown) if count[one] == 1}
