# SPDX-License-Identifier: Apache-2.0
"""A plain interpreter of conditions: walks the tree for each event and knows nothing of the compiler.

Written from the semantics of the rules language alone: every operator by itself, a missing value makes every
comparison false.
"""

from __future__ import annotations

import fnmatch
import re
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, Any

from falco_py.rules.syntax import And, Call, Check, FieldExpr, Literal, MacroRef, Node, Not, Or
from tests.rules.standin import Catalogue, Event

if TYPE_CHECKING:
    from collections.abc import Mapping


def evaluate(node: Node, event: Event, macros: Mapping[str, Node] | None = None) -> bool:
    macros = macros or {}
    if isinstance(node, MacroRef):
        return evaluate(macros[node.name], event, macros)
    if isinstance(node, Not):
        return not evaluate(node.term, event, macros)
    if isinstance(node, And):
        return all(evaluate(term, event, macros) for term in node.terms)
    if isinstance(node, Or):
        return any(evaluate(term, event, macros) for term in node.terms)
    return _check(node, event)


def _value(operand: Any, event: Event) -> tuple[Any, str, bool, str]:
    """(value, type, is it a list, multi)."""
    if isinstance(operand, Literal):
        return operand.text, "CHARBUF", False, ""
    if isinstance(operand, FieldExpr):
        found = Catalogue.lookup(operand.name if operand.arg is None else f"{operand.name}[{operand.arg}]")
        assert found is not None
        one, arg = found
        key = one.name if arg is None else f"{one.name}[{arg}]"
        value = event.name if one.name in ("evt.type", "syscall.type") else event.values.get(key)
        return value, str(one.type), one.is_list, one.multi if arg is None else ""
    assert isinstance(operand, Call)
    if operand.name == "val":
        return _value(operand.args[0], event)
    value, kind, is_list, _ = _value(operand.args[0], event)
    if operand.name == "concat":
        values = [_value(arg, event)[0] for arg in operand.args]
        return (None if None in values else "".join(values)), "CHARBUF", False, ""
    if value is None:
        pass
    elif operand.name == "len":
        value = len(value) if is_list or isinstance(value, bytes) else len(value.encode("utf-8", "surrogateescape"))
    elif is_list:
        value = tuple(_transformed(operand.name, one) for one in value)
    else:
        value = _transformed(operand.name, value)
    return (value, "UINT64", False, "") if operand.name == "len" else (value, kind, is_list, "")


def _transformed(name: str, text: str) -> str:
    if name == "tolower":
        return _folded(text)
    if name == "toupper":
        return "".join(chr(ord(c) - 32) if "a" <= c <= "z" else c for c in text)
    assert name == "basename"
    return text.split("/")[-1]


def _folded(text: str) -> str:
    return "".join(chr(ord(c) + 32) if "A" <= c <= "Z" else c for c in text)


def _check(check: Check, event: Event) -> bool:
    value, kind, is_list, multi = _value(check.left, event)
    values = () if value is None else value if is_list or multi else (value,)
    if check.op == "exists":
        return bool(values)
    if not isinstance(check.right, tuple):
        return _to_field(check, value, event, is_list)
    wanted = [one.text for one in check.right]
    if is_list:
        if check.op == "in":
            return bool(values) and all(_compare("in", kind, one, wanted, None) for one in values)
        return any(_compare("in", kind, one, wanted, None) for one in values)
    if multi == "endpoints" and check.op == "!=":
        return bool(values) and all(_compare("!=", kind, one, wanted, check.modifier) for one in values)
    return any(_compare(check.op, kind, one, wanted, check.modifier) for one in values)


def _to_field(check: Check, value: Any, event: Event, is_list: bool) -> bool:
    other = _value(check.right, event)[0]
    if value is None or other is None:
        return False
    if is_list:
        if not value or not other:
            return False
        return all(v in other for v in value) if check.op == "in" else any(v in other for v in value)
    return _holds("=" if check.op in ("in", "intersects") else check.op, value, other)


def _compare(op: str, kind: str, value: Any, wanted: list[str], modifier: str | None) -> bool:
    if op == "pmatch":
        return any(_below(value, path) for path in wanted)
    if op in ("in", "intersects"):
        return any(_equal(kind, value, text) for text in wanted)
    results = [_one(op, kind, value, text) for text in wanted]
    if modifier == "allof":
        return bool(results) and all(results)
    if modifier == "oneof":
        return results.count(True) == 1
    return any(results)


def _one(op: str, kind: str, value: Any, text: str) -> bool:
    if op in ("=", "=="):
        return _equal(kind, value, text)
    if op == "!=":
        return not _equal(kind, value, text)
    if op in ("bcontains", "bstartswith"):
        return _holds(op[1:], value, bytes.fromhex(text))
    return _holds(op, value, _typed(kind, text))


def _typed(kind: str, text: str) -> Any:
    if kind in ("CHARBUF", "FSPATH"):
        return text
    if kind == "BYTEBUF":
        return text.encode()
    if kind == "BOOL":
        return text == "true"
    if kind == "IPADDR":
        return ip_address(text)
    bits = {"PORT": 16, "UINT32": 32}.get(kind, 64)
    number = int(text) % (1 << bits)
    return number - (1 << bits) if kind == "INT64" and number >= 1 << 63 else number


def _equal(kind: str, value: Any, text: str) -> bool:
    if kind == "IPNET":
        net = ip_network(text, strict=False)
        return net.version == value.version and int(value) >> (net.max_prefixlen - net.prefixlen) == (
            int(net.network_address) >> (net.max_prefixlen - net.prefixlen)
        )
    typed = _typed(kind, text)
    return type(typed) is type(value) and bool(typed == value)


def _holds(op: str, a: Any, b: Any) -> bool:
    if op in ("=", "=="):
        return bool(a == b)
    if op == "!=":
        return bool(a != b)
    if op in ("<", "<=", ">", ">="):
        return bool((a < b, a <= b, a > b, a >= b)[("<", "<=", ">", ">=").index(op)])
    if op == "contains":
        return a.find(b) >= 0
    if op == "icontains":
        return _folded(a).find(_folded(b)) >= 0
    if op == "startswith":
        return bool(a[: len(b)] == b)
    if op == "endswith":
        return len(a) >= len(b) and a[len(a) - len(b) :] == b
    if op == "glob":
        return fnmatch.fnmatchcase(a, b)
    if op == "iglob":
        return fnmatch.fnmatchcase(_folded(a), _folded(b))
    assert op == "regex"
    return re.fullmatch(b, a, re.DOTALL) is not None


def _below(value: str, path: str) -> bool:
    parts, wanted = ([p for p in text.split("/") if p] for text in (value, path))
    return len(parts) >= len(wanted) and all(fnmatch.fnmatchcase(p, w) for p, w in zip(parts, wanted, strict=False))
