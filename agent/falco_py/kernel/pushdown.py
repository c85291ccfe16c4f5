# SPDX-License-Identifier: Apache-2.0
"""Rules become what the kernel decides of a call, so that calls no rule could match never reach this side.

The clauses of all rules are numbered. For each fact, a table gives the set of clauses that a value of it leaves open,
as bits of an int; the sets of a call's facts are met, and a call with nothing left is dropped. A fact that is not known
is not asked. Invariant: the plan keeps every call that some rule could match, under either spelling of its path; it may
keep more.
"""

from __future__ import annotations

import struct
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from ..rules.priority import SHEDDING, Priority
from .decisions import (
    FD_NUMBERS,
    KINDS,
    OPEN_CLASSES,
    OTHER_KIND,
    RESULT_CLASSES,
    VALUES,
    Truth,
    holds,
    names_in,
    networks_in,
    number_class,
    numbers_in,
    numbers_of,
    of_address,
    of_kind,
    of_name,
    of_open,
    of_port,
    of_result,
    of_value,
    ports_in,
    result_class,
    results_of,
)
from .formulas import AllOf, AnyOf, Clause, Fact, Formula, Group, Leaf, clauses_of, possible
from .paths import NAME_KEY_BYTES, SUFFIX_BYTES, TRIE_KEY_BYTES, Pattern, Patterns, more_telling, patterns_of, raw
from .tables import NEVER_SHED, UNKNOWN_OPEN
from .widening import Reason, Widening

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from ipaddress import IPv6Address, IPv6Network

    from ..rules.syntax import Check, Node

MAX_CLAUSES = 512  # VECTOR_WORDS * 64, bpf/lib/types.h
VECTOR_BYTES = MAX_CLAUSES // 8
TOP_BYTES = 32
_NAME_BITS_LOG = 12  # 2^12 = NAME_BITS, bpf/lib/types.h
_FIBONACCI = 0x9E3779B97F4A7C15
EVERY_CLAUSE = (1 << MAX_CLAUSES) - 1

__all__ = ["Call", "Plan", "Rule", "clauses_of", "everything", "plan"]


class Call(NamedTuple):
    """What the filter knows of a call, for the model.

    `opened`: index into OPEN_CLASSES; `kind`: into KINDS; `number`: of an fd that is an argument; `value`: by what the
    argument that is looked up is;
    `port`, `address`: of the server's end, None when they are not known, IPv4 addresses as IPv6 has them;
    `process`: the clauses that the entry of its process leaves, None without one.
    """

    event: str
    ret: int = 0
    opened: int = UNKNOWN_OPEN
    name: bytes = b""
    process: int | None = None
    kind: int = OTHER_KIND
    number: int | None = None
    value: int | None = None
    port: int | None = None
    address: IPv6Address | None = None
    spellings: tuple[str, ...] | None = None  # None: not known, or holding what the kernel does not decide


class Asked:
    """The formulas over one fact, with the clauses that each is of."""

    def __init__(self, clauses: Sequence[Clause], fact: Fact) -> None:
        self.masks: dict[Formula, int] = {}
        for number, clause in enumerate(clauses):
            for formula in clause.formulas(fact):
                self.masks[formula] = self.masks.get(formula, 0) | 1 << number

    def left(self, truth: Callable[[Check], Truth]) -> int:
        """The clauses whose formulas can hold; those that ask nothing are among them."""
        bits = EVERY_CLAUSE
        for formula, mask in self.masks.items():
            if bits & mask and not possible(formula, truth):
                bits &= ~mask
        return bits


@dataclass
class Plan:
    """`rules`: of each clause, the rules that it is of. The tables hold sets of clauses as bits of an int.

    `asks`: of each fact, the clauses that ask something of it. `widened`: where the plan is looser than the conditions.
    `every_read`: the rules whose opens for reading the kernel can narrow by nothing, so that they cost on every open.
    """

    clauses: tuple[Clause, ...] = ()
    rules: tuple[tuple[str, ...], ...] = ()
    events: dict[str, int] = field(default_factory=dict)
    results: list[int] = field(default_factory=lambda: [0] * RESULT_CLASSES)
    opened: list[int] = field(default_factory=lambda: [0] * len(OPEN_CLASSES))
    kinds: list[int] = field(default_factory=lambda: [0] * len(KINDS))
    numbers: list[int] = field(default_factory=lambda: [0] * FD_NUMBERS)
    values: dict[tuple[str, int], int] = field(default_factory=dict)
    comms: dict[bytes, int] = field(default_factory=dict)
    other_comm: int = 0
    ports: dict[int, int] = field(default_factory=dict)
    other_port: int = 0
    addresses: dict[IPv6Network, int] = field(default_factory=dict)
    other_address: int = 0
    asks: dict[Fact, int] = field(default_factory=lambda: dict.fromkeys(Fact, 0))
    paths: dict[bytes, int] = field(default_factory=dict)  # b"/etc/" is a prefix, b"/etc/passwd\0" a whole path
    names: dict[bytes, int] = field(default_factory=dict)
    suffixes: dict[bytes, int] = field(default_factory=dict)  # ends of last components
    # of first components: the clauses that paths below can meet, and those of them that name whole paths or prefixes
    tops: dict[bytes, tuple[int, int]] = field(default_factory=dict)
    other_top: tuple[int, int] = (0, 0)
    path_lengths: tuple[int, ...] = ()  # of the keys of `paths`, longest first
    levels: list[int] = field(default_factory=lambda: [EVERY_CLAUSE] * len(SHEDDING))
    of_name: Asked = field(default_factory=lambda: Asked((), Fact.NAME))
    widened: list[Widening] = field(default_factory=list)
    every_read: tuple[str, ...] = ()

    @property
    def valued(self) -> frozenset[str]:
        """The event types of which an argument is looked up."""
        return frozenset(event for event, _ in self.values)

    def open_clauses(self, call: Call) -> int:
        """What the kernel program leaves before it looks at a path, by the same steps."""
        left = self.events.get(call.event, 0) & self.results[result_class(call.ret)] & self.opened[call.opened]
        left &= self.comms.get(call.name, self.other_comm) & self.kinds[call.kind]
        if call.number is not None:
            left &= self.numbers[number_class(call.number)]
        if call.port is not None:
            left &= self.ports.get(call.port, self.other_port)
        if call.address is not None:
            left &= self._address_bits(call.address)
        if call.value is not None:
            left &= self.values.get((call.event, call.value), EVERY_CLAUSE)
        return left if call.process is None else left & call.process

    def keeps(self, call: Call, level: int = 0) -> bool:
        """What the kernel program decides at a level of shedding; for tests and for explaining."""
        return bool(self.left(call, level))

    def left(self, call: Call, level: int = 0) -> int:
        """The clauses on whose account a call is told."""
        left = self.open_clauses(call)
        if call.event not in NEVER_SHED:
            left &= self.levels[level]
        if not left or call.spellings is None:
            return left
        tops = hit = 0
        for path in map(raw, call.spellings):
            tops |= self.tops.get(path[1:].partition(b"/")[0], self.other_top)[0]
            hit |= self._path_bits(path)
        return left & (tops & hit | ~self.asks[Fact.PATH])

    def rules_of(self, left: int) -> tuple[str, ...]:
        """The rules of a set of clauses, each once."""
        found = (name for number, names in enumerate(self.rules) if left >> number & 1 for name in names)
        return tuple(dict.fromkeys(found))

    def _address_bits(self, address: IPv6Address) -> int:
        found = [network for network in self.addresses if address in network]
        return self.addresses[max(found, key=lambda net: net.prefixlen)] if found else self.other_address

    def _path_bits(self, path: bytes) -> int:
        key = path + b"\0"
        length = next((n for n in self.path_lengths if key[:n] in self.paths and n <= len(key)), None)
        name = path.rsplit(b"/", 1)[-1]
        found = (self.paths[key[:length]] if length is not None else 0) | self.names.get(name, 0)
        for at in range(max(0, len(name) - SUFFIX_BYTES), len(name)):
            found |= self.suffixes.get(name[at:], 0)
        return found

    @property
    def named(self) -> int:
        """The clauses that a last component, or how it ends, lets through."""
        found = 0
        for bits in (*self.names.values(), *self.suffixes.values()):
            found |= bits
        return found

    def name_bits(self, name: bytes) -> int:
        """The clauses that a thread's name leaves open."""
        return self.of_name.left(lambda check: of_name(check, name))


class Rule(NamedTuple):
    """What a rule asks: on which event types, with its macros opened."""

    name: str
    event_types: frozenset[str]
    tree: Node
    priority: int = Priority.EMERGENCY


def everything() -> Plan:
    """The filter that keeps every call."""
    from ..events.syscalls import ROWS

    made = Plan((Clause(Group(False, False, False, False, "", ""), frozenset(ROWS), ()),), (("",),))
    made.events = dict.fromkeys(ROWS, 1)
    made.results, made.opened = [1] * RESULT_CLASSES, [1] * len(OPEN_CLASSES)
    made.kinds, made.numbers = [1] * len(KINDS), [1] * FD_NUMBERS
    made.other_comm = made.other_port = made.other_address = 1
    return made


def plan(rules: Iterable[Rule]) -> Plan:
    """The filter for these rules."""
    numbered: dict[Clause, list[str]] = {}
    widened: list[Widening] = []
    severity: dict[str, int] = {}
    every_read: list[str] = []
    for rule in rules:
        severity[rule.name] = min(rule.priority, severity.get(rule.name, rule.priority))
        notes: list[Widening] = []
        clauses = clauses_of(rule.tree, rule.event_types, notes)
        for clause in clauses:
            numbered.setdefault(clause, []).append(rule.name)
        if any(map(_needs_every_read, clauses)):
            every_read.append(rule.name)
        widened += [note._replace(rules=(rule.name,)) for note in notes]
    kept = _bounded(numbered, widened)
    made = Plan(
        tuple(kept),
        tuple(tuple(names) for names in kept.values()),
        widened=widened,
        every_read=tuple(every_read),
    )
    for number, clause in enumerate(made.clauses):
        for fact, _ in clause.parts:
            made.asks[fact] |= 1 << number
    for level, least in enumerate(SHEDDING):
        made.levels[level] = sum(
            1 << number for number, names in enumerate(made.rules) if min(severity[name] for name in names) <= least
        )
    _fill(made)
    _fill_paths(made)
    return made


def _needs_every_read(clause: Clause) -> bool:
    reading = OPEN_CLASSES[0]
    return (
        clause.group.opens
        and all(possible(one, lambda check: of_open(check, reading)) for one in clause.formulas(Fact.OPEN))
        and not any(clause.asks(fact) for fact in (Fact.PATH, Fact.NAME, Fact.PROCESS))
    )


def _bounded(numbered: dict[Clause, list[str]], widened: list[Widening]) -> dict[Clause, list[str]]:
    """More clauses than fit are widened to one for each group of event types."""
    if len(numbered) <= MAX_CLAUSES:
        return numbered
    groups = {clause.group for clause in numbered}
    order = list(numbered)
    kept = {clause: numbered[clause] for clause in order[: MAX_CLAUSES - len(groups)]}
    rest: dict[Group, list[Clause]] = {}
    for clause in order[MAX_CLAUSES - len(groups) :]:
        rest.setdefault(clause.group, []).append(clause)
    for group, clauses in rest.items():
        widest = _widest(group, clauses)
        names = [name for clause in clauses for name in numbered[clause]]
        widened.append(Widening(Reason.CLAUSES, widest.event_types, rules=tuple(dict.fromkeys(names))))
        kept.setdefault(widest, []).extend(names)
    return kept


def _widest(group: Group, clauses: Sequence[Clause]) -> Clause:
    types = frozenset[str]().union(*(clause.event_types for clause in clauses))
    if not all(clause.asks(Fact.PATH) for clause in clauses):
        return Clause(group, types, ())
    terms = tuple(dict.fromkeys(AllOf(clause.formulas(Fact.PATH)) for clause in clauses))
    return Clause(group, types, ((Fact.PATH, (AnyOf(terms),)),))


def _fill(made: Plan) -> None:
    clauses = made.clauses
    for number, clause in enumerate(clauses):
        for name in clause.event_types:
            made.events[name] = made.events.get(name, 0) | 1 << number
    results = Asked(clauses, Fact.RESULT)
    constants = numbers_in(results.masks)
    for index in range(RESULT_CLASSES):
        rets = results_of(index, constants)
        bits = 0 if rets else EVERY_CLAUSE
        for ret in rets:
            bits |= results.left(lambda check, ret=ret: of_result(check, ret))  # type: ignore[misc]
        made.results[index] = bits
    opens, kinds = Asked(clauses, Fact.OPEN), Asked(clauses, Fact.KIND)
    for index, opened in enumerate(OPEN_CLASSES):
        made.opened[index] = opens.left(lambda check, one=opened: of_open(check, one))  # type: ignore[misc]
    for index in range(len(KINDS)):
        made.kinds[index] = kinds.left(lambda check, one=index: of_kind(check, one))  # type: ignore[misc]
    fds = Asked(clauses, Fact.NUMBER)
    constants = numbers_in(fds.masks)
    for index in range(FD_NUMBERS):
        for fd in numbers_of(index, constants):
            made.numbers[index] |= fds.left(lambda check, fd=fd: holds(check, fd))  # type: ignore[misc]
    of_ports = Asked(clauses, Fact.PORT)
    made.other_port = of_ports.left(lambda check: of_port(check, None))
    for port in ports_in(of_ports.masks):
        made.ports[port] = of_ports.left(lambda check, port=port: of_port(check, port))  # type: ignore[misc]
    of_addresses = Asked(clauses, Fact.ADDRESS)
    made.other_address = of_addresses.left(lambda check: of_address(check, None))
    for network in networks_in(of_addresses.masks):
        made.addresses[network] = of_addresses.left(lambda check, net=network: of_address(check, net))  # type: ignore[misc]
    made.of_name = Asked(clauses, Fact.NAME)
    made.other_comm = made.of_name.left(lambda check: of_name(check, None))
    for comm in names_in(made.of_name.masks):
        made.comms[comm] = made.name_bits(comm)
    _fill_values(made)


def _fill_values(made: Plan) -> None:
    """Of the event types that some clause asks an argument of."""
    asked = {clause.group.value.partition(" ")[0] for clause in made.clauses if clause.asks(Fact.VALUE)}
    for event in sorted(asked):
        mine = [clause if event in clause.event_types else _NOTHING for clause in made.clauses]
        formulas = Asked(mine, Fact.VALUE)
        for value in range(VALUES):
            made.values[event, value] = formulas.left(
                lambda check, event=event, value=value: of_value(check, event, value)  # type: ignore[misc]
            )


_NOTHING = Clause(Group(False, False, False, False, "", ""), frozenset(), ())


# Paths


def patterns(formula: Formula, unused: set[Pattern]) -> Patterns:
    """The patterns of which one fits each path that the formula can hold for. `unused` gets those that must be met,
    too, and are not among them."""
    if isinstance(formula, Leaf):
        return patterns_of(formula.check) if formula.positive else None
    parts = [patterns(term, unused) for term in formula.terms]
    if isinstance(formula, AllOf):
        return _most_telling(parts, unused)
    known = [one for one in parts if one is not None]
    return frozenset().union(*known) if len(known) == len(parts) else None


def _most_telling(sets: Sequence[Patterns], unused: set[Pattern]) -> Patterns:
    chosen = more_telling(sets)
    for one in sets:
        if one is not None and chosen is not None:
            unused |= one - chosen
    return chosen


def _fill_paths(made: Plan) -> None:
    prefixes: dict[bytes, int] = {}
    for number, clause in enumerate(made.clauses):
        unused: set[Pattern] = set()
        found = _most_telling([patterns(formula, unused) for formula in clause.formulas(Fact.PATH)], unused)
        bit = 1 << number
        _tell_of_paths(made, number, frozenset(unused), frozenset(one for one in found or () if one.cut))
        if found is None:
            made.asks[Fact.PATH] &= ~bit
            continue
        for pattern in found:
            text = raw(pattern.text)
            if pattern.kind in ("name", "suffix"):
                table = made.names if pattern.kind == "name" else made.suffixes
                table[text] = table.get(text, 0) | bit
                continue
            key = text + b"\0" if pattern.kind == "exact" else text
            made.paths[key] = made.paths.get(key, 0) | bit
            if pattern.kind == "prefix":
                prefixes[text] = prefixes.get(text, 0) | bit
    _fill_tops(made)
    made.path_lengths = tuple(sorted({len(key) for key in made.paths}, reverse=True))
    lengths = sorted({len(prefix) for prefix in prefixes})
    for key in made.paths:
        for length in lengths:
            if length > len(key):
                break
            made.paths[key] |= prefixes.get(key[:length], 0)


def first_component(key: bytes) -> bytes | None:
    """Of all paths that a key of `Plan.paths` fits; None when there are several, or it is too long for the kernel."""
    if not key.startswith(b"/"):
        return None
    name, slash, _ = key[1:].partition(b"/")
    whole = name.endswith(b"\0")
    if not slash and not whole:
        return None
    name = name.rstrip(b"\0")
    return name if len(name) < TOP_BYTES else None


def _fill_tops(made: Plan) -> None:
    """Before the entries of `paths` take in what their shorter prefixes give."""
    named, unplaced, below = made.named, 0, dict[bytes, int]()
    for key, bits in made.paths.items():
        top = first_component(key)
        if top is None:
            unplaced |= bits
        else:
            below[top] = below.get(top, 0) | bits
    made.other_top = named | unplaced, unplaced
    made.tops = {top: (bits | named | unplaced, bits | unplaced) for top, bits in below.items()}


def _tell_of_paths(made: Plan, number: int, unused: frozenset[Pattern], cut: frozenset[Pattern]) -> None:
    types, rules = made.clauses[number].event_types, made.rules[number]
    for reason, found in ((Reason.PATHS, unused), (Reason.CUT, cut)):
        if found:
            made.widened.append(Widening(reason, types, patterns=found, rules=rules))


# The layout of bpf/lib/types.h


def pack_vector(bits: int) -> bytes:
    return (bits & EVERY_CLAUSE).to_bytes(VECTOR_BYTES, "little")


def pack_slot(made: Plan, rows: Sequence[str | None]) -> bytes:
    """struct slot; `rows`: the event type of each row of the kernel's table."""
    asks = made.asks
    vectors = (
        EVERY_CLAUSE & ~asks[Fact.PATH],
        made.named,
        *made.other_top,
        asks[Fact.NAME] | asks[Fact.PROCESS],
        asks[Fact.KIND] | asks[Fact.NUMBER],
        asks[Fact.VALUE],
        asks[Fact.PORT],
        asks[Fact.ADDRESS],
        made.other_comm,
        made.other_port,
        made.other_address,
        *made.levels,
        *made.results,
        *made.opened,
        *made.kinds,
        *made.numbers,
    )
    events = b"".join(
        pack_vector(made.events.get(name, 0)) if name is not None else bytes(VECTOR_BYTES) for name in rows
    )
    lengths = sum(1 << length - 1 for length in {len(one) for one in made.suffixes})
    names = _pack_name_bits((*made.names, *made.suffixes)) + lengths.to_bytes(64, "little")
    return b"".join(map(pack_vector, vectors)) + names + events


def _pack_name_bits(names: Iterable[bytes]) -> bytes:
    """Which first eight bytes there are: may_be_named() of bpf/lib/filter.h."""
    bits = 0
    for name in names:
        word = int.from_bytes(name[:8].ljust(8, b"\0"), sys.byteorder)
        bits |= 1 << ((word * _FIBONACCI & 2**64 - 1) >> 64 - _NAME_BITS_LOG)
    return bits.to_bytes(2**_NAME_BITS_LOG // 8, "little")


def pack_path(slot: int, key: bytes) -> bytes:
    """struct trie_key"""
    return struct.pack("=IB", 8 * (1 + len(key)), slot) + key.ljust(TRIE_KEY_BYTES - 1, b"\0")


def pack_name(slot: int, name: bytes) -> bytes:
    """struct name_key"""
    return name.ljust(NAME_KEY_BYTES, b"\0") + struct.pack("=I", slot)


def pack_suffix(slot: int, end: bytes) -> bytes:
    """struct name_key of how a last component ends."""
    return pack_name(slot, end.ljust(SUFFIX_BYTES, b"\0") + b"/")


def pack_top(slot: int, name: bytes) -> bytes:
    """struct top_key"""
    return name.ljust(TOP_BYTES, b"\0") + struct.pack("=I", slot)


def pack_comm(slot: int, name: bytes) -> bytes:
    """struct comm_key"""
    return name.ljust(16, b"\0") + struct.pack("=I", slot)


def pack_port(slot: int, port: int) -> bytes:
    """The key of the map `ports`."""
    return struct.pack("=I", slot << 16 | port)


def pack_address(slot: int, network: IPv6Network) -> bytes:
    """struct address_key"""
    return struct.pack("=IB", 8 + network.prefixlen, slot) + network.network_address.packed + bytes(3)


def pack_value(slot: int, row: int, value: int) -> bytes:
    """The key of the map `values`."""
    return struct.pack("=I", slot << 31 | row << 8 | value)
