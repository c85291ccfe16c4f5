# SPDX-License-Identifier: Apache-2.0
"""Written values become Python values of a field's type.

Invariant: a value that is not of the type is a `LiteralError` with Falco's words, found at load and never later.
"""

from __future__ import annotations

import re
import socket
from ipaddress import AddressValueError, IPv4Address, IPv4Network, IPv6Address, IPv6Network, NetmaskValueError

from .patterns import check_regex

INTEGERS = frozenset({"INT64", "INT32", "INT16", "INT8", "UINT64", "UINT32", "UINT16", "UINT8", "RELTIME", "ABSTIME"})
TEXTS = frozenset({"CHARBUF", "FSPATH", "FSRELPATH", "STRING"})
_BITS = {"INT64": 64, "INT32": 32, "INT16": 16, "INT8": 8, "UINT64": 64, "UINT32": 32, "UINT16": 16, "UINT8": 8,
         "RELTIME": 64, "ABSTIME": 64}  # fmt: skip
_INTEGER = re.compile(r"[+-]?[0-9]+", re.ASCII)
_MAX_DIGITS = 40


class LiteralError(Exception):
    """`args[0]` says what is wrong; `hint` what to write."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message, self.hint = message, hint


def _integer(text: str, kind: str) -> int:
    if not _INTEGER.fullmatch(text) or len(text) > _MAX_DIGITS:
        raise LiteralError(f"{text} is not a valid number", "write a decimal number")
    bits = _BITS[kind]
    value = int(text) & ((1 << bits) - 1)
    return value - (1 << bits) if not kind.startswith("U") and value >> (bits - 1) else value


def _port(text: str) -> int:
    if text.isascii() and text.isdigit():
        return int(text[-_MAX_DIGITS:]) & 0xFFFF
    for protocol in ("tcp", "udp"):
        try:
            return socket.getservbyname(text, protocol)
        except (OSError, ValueError, UnicodeError):
            continue
    raise LiteralError(f"unrecognized protocol {text}", "write a port number or a service name of /etc/services")


def _address(text: str) -> IPv4Address | IPv6Address:
    hint = "for a network such as 10.0.0.0/8 use fd.net, fd.snet, ..." if "/" in text else ""
    if text.lower().startswith("::ffff:") and "." in text:
        hint = f"write {text[7:]}; such addresses are shown as IPv4"
    try:
        return IPv4Address(text) if "." in text else IPv6Address(text)
    except (AddressValueError, ValueError):
        raise LiteralError(f"unrecognized IPv{4 if '.' in text else 6} address {text}", hint) from None


def _network(text: str) -> IPv4Network | IPv6Network:
    if "/" not in text:
        raise LiteralError(f"unrecognized IP network {text}", "write it as 10.0.0.0/8")
    address, _, mask = text.partition("/")
    try:
        return IPv4Network(text, strict=False) if "." in address else IPv6Network(text, strict=False)
    except NetmaskValueError:
        raise LiteralError(f"invalid netmask {mask}") from None
    except ValueError:
        raise LiteralError(f"unrecognized IP network {text}", "write it as 10.0.0.0/8") from None


def to_value(text: str, kind: str, op: str) -> object:
    """`text` as a value that is compared with fields of type `kind` by `op`. Raises LiteralError."""
    if kind in INTEGERS:
        return _integer(text, kind)
    if kind in TEXTS or kind == "DOMAIN":
        if op == "regex":
            problem = check_regex(text)
            if problem:
                raise LiteralError(f"invalid regular expression '{text}': {problem}", "the syntax is that of RE2")
        return text
    if kind == "PORT":
        return _port(text)
    if kind == "BOOL":
        if text not in ("true", "false"):
            raise LiteralError(f"filter error: unrecognized boolean value {text}", "write true or false")
        return text == "true"
    if kind == "IPADDR":
        return _address(text)
    if kind == "IPNET":
        return _network(text)
    if kind == "DOUBLE":
        return _integer(text, "INT64")
    if kind == "BYTEBUF":
        if op not in ("bcontains", "bstartswith"):
            return text.encode("utf-8", "surrogateescape")
        if len(text) % 2 or not re.fullmatch("[0-9a-fA-F]*", text):
            raise LiteralError("filter error: bcontains and bstartswith operator support hex strings only",
                               "write an even number of hex digits")  # fmt: skip
        return bytes.fromhex(text)
    return text


_NUMERIC_OPS = frozenset(("=", "!=", "<", "<=", ">", ">=", "in", "intersects", "exists"))
_TEXT_OPS = _NUMERIC_OPS | frozenset(
    ("contains", "icontains", "startswith", "endswith", "glob", "iglob", "regex", "pmatch")
)
_SET_OPS = frozenset(("=", "!=", "in", "intersects", "exists"))
_BUFFER_OPS = frozenset(
    ("=", "!=", "in", "intersects", "exists", "contains", "startswith", "endswith", "bcontains", "bstartswith")
)
_LIST_OPS = frozenset(("in", "intersects", "exists"))


def allowed_operators(kind: str, is_list: bool) -> tuple[frozenset[str], str]:
    """(operators of fields of this type, Falco's word for the type)."""
    if is_list:
        return _LIST_OPS, "list"
    if kind in INTEGERS or kind in ("PORT", "DOUBLE"):
        return _NUMERIC_OPS, "numeric"
    if kind in TEXTS:
        return _TEXT_OPS, "string"
    if kind == "BYTEBUF":
        return _BUFFER_OPS, "buffer"
    if kind == "DOMAIN":
        return _SET_OPS, "domain name"
    return _SET_OPS, {"BOOL": "boolean", "IPADDR": "IP address", "IPNET": "IP network"}.get(kind, kind)
