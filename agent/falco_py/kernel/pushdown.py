# SPDX-License-Identifier: Apache-2.0
"""Conditions become what the kernel can decide of an open, so that opens no rule could match never reach this side.

Each condition is folded with what an open is, negations are pushed to the leaves, and every leaf that the kernel
cannot decide becomes true. What is left is a list of clauses: how the file was opened, and which paths. Invariant: the
plan keeps every open that some rule could match, under either spelling of its path; it may keep more.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from itertools import product
from typing import TYPE_CHECKING, NamedTuple

from ..rules.syntax import And, Check, FieldExpr, Literal, MacroRef, Not, Or
from .tables import FILTERED_OPENS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ..rules.syntax import Node

MAX_CLAUSES = 256  # VECTOR_WORDS * 64, bpf/lib/types.h
MAX_RULE_CLAUSES = 48
TRIE_KEY_BYTES = 256
NAME_KEY_BYTES = 64
VECTOR_BYTES = MAX_CLAUSES // 8

# How a file was opened: its access mode (O_RDONLY, O_WRONLY, O_RDWR, the odd 3), or that it was not.
READ, WRITE, READ_WRITE, ODD_MODE, FAILED = range(5)
OPEN_CLASSES = 8
ALL_CLASSES = frozenset(range(5))
_OPENED = ALL_CLASSES - {FAILED}

_OPENS = frozenset(FILTERED_OPENS)
_SUBSTRING_OPERATORS = ("contains", "glob", "startswith", "endswith")


class Pattern(NamedTuple):
    """`exact`: the whole path; `prefix`: how it starts; `name`: its last component."""

    kind: str
    text: str


Paths = frozenset[Pattern] | None  # None: any path


class Clause(NamedTuple):
    classes: frozenset[int]
    paths: Paths


TRUE = Clause(ALL_CLASSES, None)


def clauses_of(node: Node, event_types: frozenset[str]) -> list[Clause]:
    """Clauses of which one holds whenever the condition holds for an open of a type in `event_types`."""
    return _clauses(node, True, event_types & _OPENS)


def _clauses(node: Node, positive: bool, opens: frozenset[str]) -> list[Clause]:
    if isinstance(node, Not):
        return _clauses(node.term, not positive, opens)
    if isinstance(node, And | Or):
        parts = [_clauses(term, positive, opens) for term in node.terms]
        joined = _all_of(parts) if isinstance(node, And) == positive else [one for part in parts for one in part]
        return _bounded(joined)
    if isinstance(node, Check):
        return _check(node, positive, opens)
    assert isinstance(node, MacroRef)  # a macro that was not opened: nothing is known of it
    return [TRUE]


def _all_of(parts: list[list[Clause]]) -> list[Clause]:
    """The conjunction. Of two sets of paths the more telling one is kept, which only widens."""
    joined = [TRUE]
    for part in parts:
        if part == [TRUE]:
            continue
        met = (Clause(a.classes & b.classes, _more_telling(a.paths, b.paths)) for a, b in product(joined, part))
        joined = _bounded([clause for clause in met if clause.classes])
    return joined


def _more_telling(a: Paths, b: Paths) -> Paths:
    if a is None or b is None:
        return b if a is None else a
    return min(a, b, key=_looseness)


def _looseness(paths: frozenset[Pattern]) -> float:
    """How much of all paths a set is likely to let through; a guess that decides nothing but speed."""
    return sum({"exact": 1.0, "name": 5.0}.get(p.kind, 4096.0 / (1 + len(p.text)) ** 2) for p in paths)


def _bounded(clauses: list[Clause]) -> list[Clause]:
    """Equal and weaker ones removed; more than the bound are widened to one."""
    unique = list(dict.fromkeys(clauses))
    kept = [
        one
        for one in unique
        if not any(
            other is not one and one.classes <= other.classes and (other.paths is None or other.paths == one.paths)
            for other in unique
        )
    ]
    if len(kept) > MAX_RULE_CLAUSES:
        return [_widest(kept)]
    return kept


def _widest(clauses: Iterable[Clause]) -> Clause:
    classes: frozenset[int] = frozenset()
    paths: Paths = frozenset()
    for clause in clauses:
        classes |= clause.classes
        paths = None if paths is None or clause.paths is None else paths | clause.paths
    return Clause(classes, paths)


# Leaves


def _truth(value: bool) -> list[Clause]:
    return [TRUE] if value else []


def _check(check: Check, positive: bool, opens: frozenset[str]) -> list[Clause]:
    left = check.left
    if not isinstance(left, FieldExpr) or not isinstance(check.right, tuple):
        return [TRUE]
    values = [literal.text for literal in check.right if isinstance(literal, Literal)]
    if len(values) != len(check.right):
        return [TRUE]
    if left.arg is None and check.modifier in (None, "anyof", "oneof"):
        if left.name in ("evt.type", "syscall.type"):
            return _event_type(check, values, positive, opens)
        if left.name == "evt.num":
            return _event_number(check.op, values, positive)
        if left.name == "fd.num":
            return _fd_number(check.op, values, positive)
        if left.name in ("evt.is_open_read", "evt.is_open_write"):
            return _access(left.name, check.op, values, positive, opens)
        if positive:
            paths = _paths(left.name, check, values)
            if paths is not None:
                return [Clause(ALL_CLASSES, paths)]
    return [TRUE]


def _event_type(check: Check, values: Sequence[str], positive: bool, opens: frozenset[str]) -> list[Clause]:
    if check.modifier is not None:
        return [TRUE]
    named = opens & frozenset(values)
    if check.op in ("=", "==", "in", "intersects"):
        return _truth(bool(named) if positive else bool(opens - named))
    if check.op == "!=":
        return _truth(bool(opens - named) if positive else bool(named))
    return [TRUE]


def _number(values: Sequence[str]) -> int | None:
    try:
        return int(values[0]) if len(values) == 1 else None
    except ValueError:
        return None


def _event_number(op: str, values: Sequence[str], positive: bool) -> list[Clause]:
    """Events are numbered from 1, so `evt.num=0` is how rules say never."""
    number = _number(values)
    never = (op in ("=", "==", "in", "<=") and number == 0) or (op == "<" and number == 1)
    return [] if never and positive else [TRUE]


def _fd_number(op: str, values: Sequence[str], positive: bool) -> list[Clause]:
    number = _number(values)
    opened = (op == ">=" and number == 0) or (op == ">" and number == -1)
    failed = (op == "<" and number == 0) or (op == "<=" and number == -1)
    if not opened and not failed:
        return [TRUE]
    return [Clause(_OPENED if opened == positive else frozenset((FAILED,)), None)]


def _access(name: str, op: str, values: Sequence[str], positive: bool, opens: frozenset[str]) -> list[Clause]:
    """creat(2) counts as neither in Falco's fields, so nothing is folded where it can occur."""
    if "creat" in opens or op not in ("=", "==", "!=") or len(values) != 1 or values[0] not in ("true", "false"):
        return [TRUE]
    wanted = ((values[0] == "true") == (op != "!=")) == positive
    sure = {READ, READ_WRITE} if name == "evt.is_open_read" else {WRITE, READ_WRITE}
    yes = frozenset(sure | {ODD_MODE, FAILED})
    no = frozenset({READ, WRITE, READ_WRITE} - sure | {ODD_MODE, FAILED})
    return [Clause(yes if wanted else no, None)]


def _paths(name: str, check: Check, values: Sequence[str]) -> Paths:
    """The patterns of a positive check on a path; None when the kernel cannot decide it."""
    op = check.op
    if not values or any("\0" in value or not value for value in values):
        return None
    if name == "fd.name":
        if op in ("=", "==", "in", "intersects"):
            return frozenset(_exact(value) for value in values)
        if op == "startswith":
            return frozenset(_prefix(value) for value in values)
        if op in ("glob", "pmatch"):
            return _with_wildcards(op, values)
    if name == "fd.nameraw" and op in _SUBSTRING_OPERATORS and all("../" in value for value in values):
        return frozenset()  # only a passed path that holds "../" can satisfy this, and the kernel keeps all of those
    if name == "fd.directory":
        if op in ("=", "==", "in", "intersects") and "/" not in values:
            whole = {_exact(value) for value in values}
            return frozenset(whole | {_prefix(value + "/") for value in values})
        if op == "startswith":
            return frozenset(_prefix(value) for value in values)
    if (
        name == "fd.filename"
        and op in ("=", "==", "in", "intersects")
        and not any("/" in value or len(_bytes(value)) >= NAME_KEY_BYTES for value in values)
    ):
        return frozenset(Pattern("name", value) for value in values)
    return None


def _with_wildcards(op: str, values: Sequence[str]) -> Paths:
    patterns = set()
    for value in values:
        text = "/" + value.strip("/") if op == "pmatch" else value
        if op == "pmatch" and "//" in text:
            return None
        fixed = text
        for i, c in enumerate(text):
            if c in "*?[\\":
                fixed = text[:i]
                break
        if fixed in ("", "/"):
            return None
        patterns.add(_exact(fixed) if fixed == text and op == "glob" else _prefix(fixed))
    return frozenset(patterns)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _exact(text: str) -> Pattern:
    return Pattern("exact", text) if len(_bytes(text)) < TRIE_KEY_BYTES else _prefix(text)


def _prefix(text: str) -> Pattern:
    """A prefix longer than the key is cut, which only widens."""
    raw = _bytes(text)[: TRIE_KEY_BYTES - 1]
    return Pattern("prefix", raw.decode("utf-8", "surrogateescape"))


# The plan


@dataclass
class Plan:
    """What the kernel is given: for each value of a dimension the clauses that it satisfies, as bits of an int."""

    clauses: tuple[Clause, ...] = ()
    open_class: list[int] = field(default_factory=lambda: [0] * OPEN_CLASSES)
    any_path: int = 0
    paths: dict[bytes, int] = field(default_factory=dict)  # b"/etc/" is a prefix, b"/etc/passwd\0" a whole path
    names: dict[bytes, int] = field(default_factory=dict)

    def keeps(self, open_class: int, *spellings: str) -> bool:
        """What the kernel program decides, by the same steps; for tests and for explaining."""
        wanted = self.open_class[open_class]
        if wanted & self.any_path:
            return True
        return any(wanted & self._path_bits(_bytes(spelling)) for spelling in spellings)

    def _path_bits(self, path: bytes) -> int:
        key = path + b"\0"
        longest = max((p for p in self.paths if key.startswith(p)), key=len, default=None)
        name = path.rsplit(b"/", 1)[-1][: NAME_KEY_BYTES - 1]
        return (self.paths[longest] if longest is not None else 0) | self.names.get(name, 0)


def everything() -> Plan:
    """The filter that keeps every open."""
    return Plan(open_class=[1] * OPEN_CLASSES, any_path=1)


def plan(conditions: Iterable[tuple[frozenset[str], Node]]) -> Plan:
    """The filter for these (event types, condition with its macros opened)."""
    numbered: dict[Clause, int] = {}
    for event_types, node in conditions:
        if not event_types & _OPENS:
            continue
        for clause in clauses_of(node, event_types):
            numbered.setdefault(clause, len(numbered))
    clauses = list(numbered)
    if len(clauses) > MAX_CLAUSES:
        clauses = [*clauses[: MAX_CLAUSES - 1], _widest(clauses[MAX_CLAUSES - 1 :])]
    made = Plan(tuple(clauses))
    prefixes: dict[bytes, int] = {}
    for number, clause in enumerate(clauses):
        bit = 1 << number
        for open_class in clause.classes:
            made.open_class[open_class] |= bit
        if clause.paths is None:
            made.any_path |= bit
            continue
        for pattern in clause.paths:
            raw = _bytes(pattern.text)
            if pattern.kind == "name":
                made.names[raw] = made.names.get(raw, 0) | bit
                continue
            key = raw + b"\0" if pattern.kind == "exact" else raw
            made.paths[key] = made.paths.get(key, 0) | bit
            if pattern.kind == "prefix":
                prefixes[raw] = prefixes.get(raw, 0) | bit
    lengths = sorted({len(prefix) for prefix in prefixes})
    for key in made.paths:
        for length in lengths:
            made.paths[key] |= prefixes.get(key[:length], 0) if length <= len(key) else 0
    return made


def needs_every_read(event_types: frozenset[str], node: Node) -> bool:
    """Whether the kernel can narrow the opens for reading of this rule by nothing: such a rule costs on every open."""
    if not event_types & _OPENS:
        return False
    return any(clause.paths is None and READ in clause.classes for clause in clauses_of(node, event_types))


# The layout of bpf/lib/types.h


def pack_vector(bits: int) -> bytes:
    return bits.to_bytes(VECTOR_BYTES, "little")


def pack_control(made: Plan) -> bytes:
    """The vectors of struct control: any_path, named, then open_class."""
    named = 0
    for bits in made.names.values():
        named |= bits
    return b"".join(pack_vector(bits) for bits in (made.any_path, named, *made.open_class))


def pack_path(key: bytes) -> bytes:
    """struct trie_key"""
    return struct.pack("=I", 8 * len(key)) + key.ljust(TRIE_KEY_BYTES, b"\0")


def pack_name(name: bytes) -> bytes:
    return name.ljust(NAME_KEY_BYTES, b"\0")
