# SPDX-License-Identifier: Apache-2.0
"""The event table: evt.type name -> row, for every system call and the end of a process.

Invariant: every name in a number table has a row. A parameter whose name starts with `_` is extracted for others to use
(the address of a datagram, the name a failed exec asked for); it is neither listed nor printed.
"""

from __future__ import annotations

from itertools import chain

from . import syscalls_file, syscalls_io, syscalls_net, syscalls_open, syscalls_process, syscalls_system
from .model import Row
from .numbers import SYSCALLS_ARM64, SYSCALLS_I386, SYSCALLS_X86_64
from .syscalls_generic import GENERIC, NEVER, UNREAD

ROWS: dict[str, Row] = {
    row.name: row
    for family in (syscalls_open, syscalls_file, syscalls_io, syscalls_net, syscalls_process, syscalls_system)
    for row in family.ROWS
}
for _name in chain(GENERIC, SYSCALLS_X86_64.values(), SYSCALLS_I386.values(), SYSCALLS_ARM64.values()):
    if _name not in ROWS:
        ROWS[_name] = Row(_name, "other", generic=True)

__all__ = ["NEVER", "ROWS", "SYSCALLS_ARM64", "SYSCALLS_I386", "SYSCALLS_X86_64", "UNREAD"]
