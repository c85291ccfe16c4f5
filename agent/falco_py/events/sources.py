# SPDX-License-Identifier: Apache-2.0
"""Short words for where a parameter's value comes from; the event table is written in them.

Invariant: each function gives one `Kernel` operation, with operands as `model.Op` describes them.
"""

from __future__ import annotations

from .model import CWD, RESULT, Kernel, Op, Param, Row, User

RES = User("res")
TUPLE = User("tuple")
MISSING = User("missing")


def u8(arg: int) -> Kernel:
    return Kernel(Op.VALUE, arg, 1)


def u32(arg: int) -> Kernel:
    return Kernel(Op.VALUE, arg, 4)


def u64(arg: int) -> Kernel:
    return Kernel(Op.VALUE, arg, 8)


def i32(arg: int) -> Kernel:
    return Kernel(Op.VALUE, arg, 4, 1)


def string(arg: int) -> Kernel:
    return Kernel(Op.STRING, arg)


def path(arg: int, directory: int = CWD) -> Kernel:
    """`directory` is the argument that holds the fd a relative path starts from."""
    return Kernel(Op.PATH, arg, directory)


def data(arg: int, size: int = RESULT) -> Kernel:
    """`size` is the argument that holds the number of bytes."""
    return Kernel(Op.DATA, arg, size)


def memory(arg: int, offset: int, size: int) -> Kernel:
    """A member of the structure that an argument points to. 32-bit calls read it with the 64-bit layout."""
    return Kernel(Op.MEMORY, arg, offset, size)


def sockaddr(arg: int, size: int, pointer: bool = False) -> Kernel:
    """`size` is the argument that holds, or points to, the length of the address."""
    return Kernel(Op.SOCKADDR, arg, size, int(pointer))


def msgname(arg: int) -> Kernel:
    return Kernel(Op.MSGNAME, arg)


def iovec(arg: int, msghdr: bool = False) -> Kernel:
    """The first buffer of an iovec array, or of a struct msghdr."""
    return Kernel(Op.IOVEC, arg, int(msghdr))


def row(name: str, category: str, flags: str, fd: int | None, *params: Param) -> Row:
    return Row(name, category, params, fd, frozenset(flags.split()))
