# SPDX-License-Identifier: Apache-2.0
"""One event, its values read lazily from the record that the kernel wrote.

Invariant: nothing here raises on any record content; what cannot be decoded reads as None (Falco's NULL).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from .model import Kernel, Row, User
from .record import Fd, Header, Items, PathItem, absolute_path

if TYPE_CHECKING:
    from collections.abc import Sequence


class ProcessLike(Protocol):
    """What an event needs to know of its process; `state.processes.Process` is the real one."""

    pid: int
    comm: str


class Event:
    """An event of one row.

    Header values are plain attributes of `header` (pid, tid, uid, ... see `record.Header`). `process` is the
    entry of the process table for the event's process, set by the engine before any rule is tested.
    `spelling` chooses which path `fd_name` gives: None or 0 the resolved one, 1 the one the process passed.
    """

    __slots__ = (
        "_args",
        "_fd",
        "_items",
        "header",
        "life",
        "num",
        "payload",
        "process",
        "row",
        "spelling",
        "table",
        "ts",
    )

    def __init__(self, row: Row, header: Header, payload: bytes, num: int, ts: int) -> None:
        self.row = row
        self.header = header
        self.payload = payload
        self.num = num
        self.ts = ts  # epoch ns
        self.process: Any = None  # state.processes.Process
        self.table: Any = None  # state.processes.ProcessTable
        self.life: Any = None  # record.Exec, record.Exit or None
        self.spelling = 0
        self._items: Items | None = None
        self._fd: Fd | None | bool = False
        self._args: list[Any] | None = None

    # The rest of this class is written in events/event.py; the contract is:
    #   name -> str                     evt.type
    #   res -> int | None               return value, None for generic rows
    #   fd -> record.Fd | None          the fd the event is about
    #   arg(index) -> Any               typed value of parameter `index` (int, str, bytes, record.PathItem,
    #                                   record.SockAddr, None when missing)
    #   fd_name, fd_nameraw -> str|None
