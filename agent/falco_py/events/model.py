# SPDX-License-Identifier: Apache-2.0
"""What an event row is: name, category, and for each parameter where its value comes from.

A row is the single source for what the kernel extracts, how the record is decoded, `evt.arg.*` and
`--list-events`. Invariant: a parameter's `source` is either a kernel operation (its `op` is written into
the BPF syscall table and yields one item in the record) or a user-side one (no item in the record).
Names, types and formats are Falco's event table.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum


class Op(IntEnum):
    """Kernel extraction operations; the numbers are shared with `bpf/lib/types.h`."""

    NONE = 0
    VALUE = 1  # argument register `arg`, cut to `a` bytes, sign-extended when `b` is 1
    STRING = 2  # NUL-terminated user string at argument `arg`
    PATH = 3  # as STRING; when relative, the path of the directory fd in argument `a` follows (a = 255: cwd)
    DATA = 4  # bytes at argument `arg`; their number is the return value (a = 255) or argument `a`
    SOCKADDR = 5  # struct sockaddr at argument `arg`, its length in argument `a` (b = 1: argument `a` points to it)
    MEMORY = 6  # `b` bytes of user memory at argument `arg` plus offset `a`
    MSGNAME = 7  # msg_name of the struct msghdr at argument `arg`
    IOVEC = 8  # bytes of the first iovec of the struct msghdr (a = 1) or iovec array (a = 0) at argument `arg`


CWD = 255
RESULT = 255


@dataclass(frozen=True, slots=True)
class Kernel:
    """A value the kernel program extracts: `op` applied to argument `arg` with two small operands."""

    op: Op
    arg: int = 0
    a: int = 0
    b: int = 0


@dataclass(frozen=True, slots=True)
class User:
    """A value computed on the user side from the event.

    `what` is one of: `res` (the return value), `fd.dev`, `fd.ino`, `fd.num2`, `tuple` (socket endpoints of
    the event's fd), `const:N`, `proc.NAME` (attribute NAME of the event's process, see `state.processes`),
    `exec.NAME`, `exit.NAME` (life-cycle records), `missing` (never known here: prints as `<NA>`).
    """

    what: str


@dataclass(frozen=True, slots=True)
class Param:
    """One parameter. `type` and `format` are the words of Falco's event table (`FD`, `FSPATH`, `FLAGS32`;
    `dec`, `hex`, `oct`, `na`); `table` names a flag table of `events.flags`; `rel` is the index of the
    parameter that holds the directory fd a relative path starts from."""

    name: str
    type: str
    source: Kernel | User
    format: str = "dec"
    table: str | None = None
    rel: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """One event type. Compared and hashed by identity: there is one row a type, and rows are keys on the hot path.

    `fd`: which fd the event is about: index of the argument register that holds it (0..5), `RESULT` when it is
    the return value, None when the event has none. The kernel resolves it from `struct file`.
    `flags` are Falco's event flags (creates_fd, uses_fd, destroys_fd, reads_fd, writes_fd, modifies_state, waits).
    """

    name: str
    category: str
    params: tuple[Param, ...] = ()
    fd: int | None = None
    flags: frozenset[str] = field(default_factory=frozenset)
    generic: bool = False
    places: tuple[int | None, ...] = field(init=False, default=())  # of each parameter: its first item in the record

    def __post_init__(self) -> None:
        places: list[int | None] = []
        at = 0
        for param in self.params:
            if isinstance(param.source, Kernel):
                places.append(at)
                at += 2 if param.source.op == Op.PATH else 1  # the directory follows a path
            else:
                places.append(None)
        object.__setattr__(self, "places", tuple(places))

    @property
    def kernel_params(self) -> tuple[tuple[int, Kernel], ...]:
        """(index of the parameter, kernel operation) for each parameter that has an item in the record, in order."""
        return tuple((i, p.source) for i, p in enumerate(self.params) if isinstance(p.source, Kernel))
