# SPDX-License-Identifier: Apache-2.0
"""Written values become typed constants, and patterns become compiled matchers.

Types and what each accepts are Falco's (sinsp filter values). Invariant: everything that can be wrong with a value is
told when the rules are loaded, as a `BadValue`.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from typing import Any

import re2

TEXT_TYPES = frozenset(("CHARBUF", "FSPATH", "FSRELPATH", "STRING"))
NET_TYPES = frozenset(("IPNET",))
ADDRESS_TYPES = frozenset(("IPADDR",))


class BadValue(Exception):
    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message, self.hint = message, hint


def typed(kind: str, text: str) -> Any:
    """The constant that a field of this type is compared with. Raises BadValue."""
    if kind in TEXT_TYPES or kind == "DOMAIN":
        return text
    if kind == "BOOL":
        if text not in ("true", "false"):
            raise BadValue(f"filter error: unrecognized boolean value {text}", "write true or false")
        return text == "true"
    if kind == "PORT":
        return _port(text)
    if kind == "IPADDR":
        return _address(text)
    if kind == "IPNET":
        return _network(text)
    if kind == "BYTEBUF":
        return text.encode("utf-8", "surrogateescape")
    if kind == "DYN":
        return int(text) if re.fullmatch(r"[+-]?\d+", text) else text
    if not re.fullmatch(r"[+-]?\d+", text):
        hint = "write it in decimal" if text.lower().startswith("0x") else ""
        raise BadValue(f"{text} is not a valid number", hint)
    return int(text)


def _port(text: str) -> int:
    if text.isdigit():
        return int(text) & 0xFFFF
    try:
        return socket.getservbyname(text)
    except (OSError, UnicodeError, ValueError):
        raise BadValue(f"unrecognized protocol {text}", "write a port number or the name of a service") from None


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    version = 4 if "." in text else 6
    try:
        return ipaddress.IPv4Address(text) if version == 4 else ipaddress.IPv6Address(text)
    except ValueError:
        raise BadValue(f"unrecognized IPv{version} address {text}") from None


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    try:
        if "/" not in text:
            raise ValueError
        return ipaddress.ip_network(text.strip('"'), strict=False)
    except ValueError:
        raise BadValue(f"unrecognized IP network {text}", 'write address and length, such as "10.0.0.0/8"') from None


def hex_bytes(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise BadValue("filter error: bcontains and bstartswith operator support hex strings only") from None


class Regex:
    """The `regex` operator: RE2, the whole value must match."""

    def __init__(self, pattern: str) -> None:
        options = re2.Options()
        options.log_errors = False
        options.longest_match = True
        try:
            self._compiled = re2.compile(pattern.encode("utf-8", "replace"), options)
        except re2.error as error:
            reason = error.args[0] if error.args else ""
            said = reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)
            raise BadValue(f"invalid regular expression '{pattern}': {said}", "the syntax is RE2's") from None
        self.pattern = pattern

    def __call__(self, value: str) -> bool:
        return self._compiled.fullmatch(value.encode("utf-8", "replace")) is not None


class Glob:
    """The `glob` and `iglob` operators: fnmatch(3) without special treatment of slashes."""

    def __init__(self, pattern: str, fold: bool = False) -> None:
        flags = re.DOTALL | (re.IGNORECASE | re.ASCII if fold else 0)
        self._match = re.compile(glob_to_regex(pattern), flags).fullmatch
        self.pattern = pattern

    def __call__(self, value: str) -> bool:
        return self._match(value) is not None


def glob_to_regex(pattern: str) -> str:
    """A regular expression for the whole value. `*` is possessive in effect: it is followed by fixed text or the end."""
    out, i = [], 0
    while i < len(pattern):
        c = pattern[i]
        i += 1
        if c == "*":
            if not out or out[-1] != ".*":
                out.append(".*")
        elif c == "?":
            out.append(".")
        elif c == "\\" and i < len(pattern):
            out.append(re.escape(pattern[i]))
            i += 1
        elif c == "[":
            end = pattern.find("]", i + 2 if pattern[i : i + 1] in ("!", "^") else i + 1)
            if end < 0:
                out.append(r"\[")
                continue
            inner = pattern[i:end]
            negated = inner[:1] in ("!", "^")
            body = re.sub(r"([\\\[\]&~|])", r"\\\1", inner[1:] if negated else inner)
            out.append(f"[{'^' if negated else ''}{body}]")
            i = end + 1
        else:
            out.append(re.escape(c))
    return "".join(out)


class PathPrefixes:
    """The `pmatch` operator: the value is one of the paths or lies below one; components may hold wildcards."""

    def __init__(self, paths: tuple[str, ...]) -> None:
        plain = []
        self._globs: list[tuple[Glob, ...]] = []
        for path in paths:
            parts = [part for part in path.split("/") if part]
            if any(c in path for c in "*?["):
                self._globs.append(tuple(Glob(part) for part in parts))
            else:
                plain.append("/" + "/".join(parts) if parts else "/")
        self._all = "/" in plain
        self._plain = frozenset(plain)
        self._below = tuple(path + "/" for path in plain)

    def __call__(self, value: str) -> bool:
        path = value
        if "//" in path or not path.startswith("/") or path.endswith("/"):
            path = "/" + "/".join(part for part in path.split("/") if part)
        if self._all or path in self._plain or path.startswith(self._below):
            return True
        if not self._globs:
            return False
        parts = [part for part in path.split("/") if part]
        return any(
            len(globs) <= len(parts) and all(glob(part) for glob, part in zip(globs, parts, strict=False))
            for globs in self._globs
        )
