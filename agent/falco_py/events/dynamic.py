# SPDX-License-Identifier: Apache-2.0
"""Parameters whose type depends on another one (Falco's DYN): socket options, ptrace, keyctl.

Invariant: what the deciding parameter does not tell prints as the bytes or the number that were passed.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

from .symbols import errno_name, signal_name

if TYPE_CHECKING:
    from .event import Event
    from .model import Param

Pair = tuple[str, str]

_SOL_SOCKET = 1
_SO_ERROR, _SO_RCVTIMEO, _SO_SNDTIMEO, _SO_COOKIE = 0x4, 0x14, 0x15, 0x35
# Socket options that are one number, with Falco's values.
_NUMBER_OPTIONS = frozenset(
    (1, 2, 3, 5, 6, 7, 8, 9, 0xA, 0xB, 0xC, 0xE, 0xF, 0x10, 0x12, 0x13, 0x1D, 0x1E, 0x20, 0x21, 0x22, 0x23, 0x24, 0x25,
     0x26, 0x27, 0x28, 0x29, 0x2A, 0x2B, 0x2C, 0x2D, 0x2E, 0x2F, 0x30, 0x31)
)  # fmt: skip
_NS, _US = 1_000_000_000, 1000

# PTRACE_CONT, PTRACE_SINGLESTEP, PTRACE_DETACH, PTRACE_SYSCALL with Falco's values: data is a signal to deliver.
_PTRACE_SIGNALS = frozenset((0x8, 0xA, 0xC, 0xD))

# Operations of keyctl and the arguments of theirs that are strings.
_KEYCTL_STRINGS = {
    1: ("arg2",),  # KEYCTL_JOIN_SESSION_KEYRING: name
    10: ("arg3", "arg4"),  # KEYCTL_SEARCH: type, description
    24: ("arg4",),  # KEYCTL_PKEY_QUERY: info
    29: ("arg3", "arg4"),  # KEYCTL_RESTRICT_KEYRING: type, restriction
}
_PR_SET_NAME, _PR_GET_NAME = 15, 16


def prctl_takes_string(option: Any) -> bool:
    return option in (_PR_SET_NAME, _PR_GET_NAME)


def variant(e: Event, param: Param, got: Any) -> Pair | None:
    """(raw text, resolved text) of the form that the event's other parameters tell; None when they do not."""
    if param.table == "sockopt_dynamic_param":
        return _option(e.arg(2), e.arg(3), got)
    if param.table == "ptrace_dynamic_param" and isinstance(got, int):
        if param.name == "data" and e.arg(3) in _PTRACE_SIGNALS:
            return str(got), signal_name(got)
        return f"{got & 0xFFFFFFFFFFFFFFFF:X}", ""
    if param.table == "keyctl_dynamic_param":
        return _key(e, param, got)
    return None


def _option(level: Any, option: Any, got: Any) -> Pair | None:
    raw = got if isinstance(got, bytes) else struct.pack("=q", got)[:4] if isinstance(got, int) and _fits(got) else b""
    if level != _SOL_SOCKET or not isinstance(option, int):
        return None
    if option == _SO_ERROR and len(raw) >= 4:
        error = -int(struct.unpack_from("=i", raw)[0])
        return str(error), errno_name(error)
    if option in (_SO_RCVTIMEO, _SO_SNDTIMEO) and len(raw) >= 16:
        seconds, micros = struct.unpack_from("=qq", raw)
        ns = seconds * _NS + micros * _US
        return str(ns), f"{ns / _NS:g}s"
    if option == _SO_COOKIE and len(raw) >= 8:
        return str(struct.unpack_from("=Q", raw)[0]), ""
    if option in _NUMBER_OPTIONS and len(raw) >= 4:
        return str(struct.unpack_from("=I", raw)[0]), ""
    return None


def _fits(number: int) -> bool:
    return -(1 << 63) <= number < 1 << 63


def _key(e: Event, param: Param, got: Any) -> Pair | None:
    operation = e.arg(1)
    if isinstance(operation, int) and param.name in _KEYCTL_STRINGS.get(operation, ()):
        for index, other in enumerate(e.row.params):
            if other.name == "_" + param.name:
                text = e.arg(index)
                return None if text is None else (str(text), "")
    return (str(got), "") if isinstance(got, int) else None
