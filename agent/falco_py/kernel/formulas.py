# SPDX-License-Identifier: Apache-2.0
"""A condition becomes clauses: conjunctions of formulas, each over one fact that the kernel knows of a call.

Negations are pushed to the comparisons; what the kernel cannot decide becomes true. An alternative over several facts
is split into clauses while they are few, else each fact gets what the alternative asks of it alone. Invariant: whenever
the condition holds for an event, all formulas of one of its clauses hold; they may hold for more.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from ..events.event import has_result
from ..events.model import RESULT
from ..events.syscalls import ROWS
from ..rules.checks import fields
from ..rules.compiler import known_of
from ..rules.inference import EVENT_TYPE_FIELDS, is_never
from ..rules.syntax import And, Check, FieldExpr, MacroRef, Not, Or
from .paths import PATH_FIELDS, patterns_of
from .tables import FILTERED_OPENS, SERVER_ENDS, value_parameter
from .widening import Reason, Widening

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ..events.model import Row
    from ..rules.syntax import Node

MAX_RULE_CLAUSES = 24  # of one rule for one group of event types


class Fact(StrEnum):
    """What a formula is about: a dimension of the filter (bpf/lib/filter.h)."""

    EVENT = "event type"
    RESULT = "result"
    OPEN = "open flags"
    NAME = "name of the thread"
    PROCESS = "program"
    PATH = "path"
    KIND = "kind of the fd"
    NUMBER = "number of the fd"
    PORT = "server's port"
    ADDRESS = "server's address"
    VALUE = "argument"


class Leaf(NamedTuple):
    check: Check
    positive: bool


class AllOf(NamedTuple):
    terms: tuple[Formula, ...]


class AnyOf(NamedTuple):
    terms: tuple[Formula, ...]


Formula = Leaf | AllOf | AnyOf
Parts = dict[Fact, tuple[Formula, ...]]  # no entry: nothing is asked of the fact


class Group(NamedTuple):
    """What event types have in common as far as formulas care.

    `server`: the end of the connection that is the server, where the call tells it, else "". `value`: the parameter
    that is looked up by value.
    """

    opens: bool
    result: bool
    result_is_fd: bool
    has_fd: bool
    server: str
    value: str


@dataclass(frozen=True, slots=True)
class Clause:
    """`event_types` are those that the event formulas leave."""

    group: Group
    event_types: frozenset[str]
    parts: tuple[tuple[Fact, tuple[Formula, ...]], ...]

    def formulas(self, fact: Fact) -> tuple[Formula, ...]:
        return next((formulas for one, formulas in self.parts if one == fact), ())

    def asks(self, fact: Fact) -> bool:
        return any(one == fact for one, _ in self.parts)


# Fixed between one exec and the next, for a thread of the same name (proc.cmdline) in the same control group
# (container): an entry of the kernel's table is good only while those are the same. Facts of containers that come later
# void it (ProcessTable.changed). Ancestors, sessions, users and directories can change meanwhile and are left out.
PROCESS_FIELDS = frozenset(
    (
        "proc.exe",
        "proc.exepath",
        "proc.args",
        "proc.cmdline",
        "proc.cmdnargs",
        "proc.cmdlenargs",
        "proc.exeline",
        "proc.env",
        "proc.pid",
        "proc.is_exe_writable",
        "proc.is_exe_upper_layer",
        "proc.is_exe_from_memfd",
        "proc.is_exe_lower_layer",
        "proc.exe_ino",
        "container.id",
        "container.full_id",
        "container.name",
        "container.type",
        "container.privileged",
        "container.image",
        "container.image.id",
        "container.image.repository",
        "container.image.tag",
        "container.image.digest",
        "container.mounts",
        "container.mount",
        "container.mount.source",
        "container.mount.dest",
        "container.mount.mode",
        "container.mount.rdwr",
        "container.mount.propagation",
        "container.label",
        "container.labels",
        "container.host_pid",
        "container.host_network",
        "container.host_ipc",
        "k8s.ns.name",
        "k8s.pod.name",
        "k8s.pod.id",
        "k8s.pod.uid",
    )
)
NAME_FIELD = "proc.name"
RESULT_FIELDS = frozenset(("evt.rawres", "evt.failed", "evt.res"))
OPEN_FIELDS = frozenset(("evt.is_open_read", "evt.is_open_write", "evt.is_open_create", "evt.is_open_exec"))
KIND_FIELDS = frozenset(("fd.type", "fd.typechar", "fd.l4proto"))
# Of the server's end; where that is the remote one, its other names too.
PORT_FIELDS = {"remote": frozenset(("fd.sport", "fd.rport")), "local": frozenset(("fd.sport", "fd.lport"))}
ADDRESS_FIELDS = {
    "remote": frozenset(("fd.sip", "fd.snet", "fd.rip", "fd.rnet")),
    "local": frozenset(("fd.sip", "fd.snet", "fd.lip", "fd.lnet")),
}


def group_of(row: Row) -> Group:
    return Group(
        opens=row.name in FILTERED_OPENS,
        result=has_result(row),
        result_is_fd=row.fd == RESULT,
        has_fd=row.fd is not None,
        server=SERVER_ENDS.get(row.name, ""),
        value="" if (param := value_parameter(row)) is None else f"{row.name} {param.name}",
    )


GROUPS: dict[Group, frozenset[str]] = {}
for _name, _row in ROWS.items():
    GROUPS[group_of(_row)] = GROUPS.get(group_of(_row), frozenset()) | {_name}


def fact_of(leaf: Leaf, group: Group) -> Fact | None:
    """What decides a comparison; None when the kernel cannot."""
    check = leaf.check
    if not isinstance(check.right, tuple | None):
        return None  # compared with another field
    names = {expr.name for expr in fields(check)}
    if names and names <= PROCESS_FIELDS:
        return Fact.PROCESS
    left = check.left
    if not isinstance(left, FieldExpr):
        return None
    parameter = parameter_of(left)
    if parameter:
        return _parameter(parameter, group)
    if left.arg is not None:
        return None
    name = left.name
    if name == NAME_FIELD:
        return Fact.NAME
    if name in EVENT_TYPE_FIELDS:
        return Fact.EVENT
    if (name in RESULT_FIELDS and group.result) or (name == "fd.num" and group.result_is_fd):
        return Fact.RESULT
    if group.opens:
        if name in OPEN_FIELDS:
            return Fact.OPEN
        if name in PATH_FIELDS and leaf.positive and patterns_of(check) is not None:
            return Fact.PATH
    elif group.has_fd:
        if name in KIND_FIELDS:
            return Fact.KIND
        if name == "fd.num":
            return Fact.NUMBER
    if group.server and name in PORT_FIELDS[group.server]:
        return Fact.PORT
    if group.server and name in ADDRESS_FIELDS[group.server] and check.modifier in (None, "anyof"):
        return Fact.ADDRESS
    return None


def parameter_of(expr: FieldExpr) -> str:
    """`flags` for evt.arg.flags and evt.arg[flags], "" for other fields."""
    if expr.name == "evt.arg":
        return expr.arg or ""
    return expr.name.removeprefix("evt.arg.") if expr.name.startswith("evt.arg.") else ""


def _parameter(name: str, group: Group) -> Fact | None:
    if group.opens and name == "flags":
        return Fact.OPEN
    return Fact.VALUE if group.value and name == group.value.partition(" ")[2] else None


# Negation normal form


def formula_of(node: Node, positive: bool = True) -> Formula | bool:
    """Comparisons joined by "all of" and "any of"; True or False when that is certain."""
    if isinstance(node, Not):
        return formula_of(node.term, not positive)
    if isinstance(node, And | Or):
        return _joined([formula_of(term, positive) for term in node.terms], isinstance(node, And) == positive)
    if isinstance(node, MacroRef):  # one that was not opened: nothing is known of it
        return True
    if is_never(node):
        return not positive
    return Leaf(node, positive)


def _joined(terms: Iterable[Formula | bool], every: bool) -> Formula | bool:
    kept: dict[Formula, None] = {}
    kind = AllOf if every else AnyOf
    for term in terms:
        if isinstance(term, bool):
            if term != every:
                return term
        elif isinstance(term, kind):
            kept.update(dict.fromkeys(term.terms))
        else:
            kept[term] = None
    if not kept:
        return every
    made = tuple(kept)
    return made[0] if len(made) == 1 else kind(made)


# Clauses


def clauses_of(node: Node, event_types: frozenset[str], widened: list[Widening] | None = None) -> list[Clause]:
    """Clauses of which one holds whenever the condition holds for an event of one of these types.

    `widened` gets the alternatives that were too many.
    """
    formula = formula_of(node)
    found: dict[tuple[object, ...], Clause] = {}
    for group, types in GROUPS.items():
        wanted = types & event_types
        if not wanted or formula is False:
            continue
        expansion = _Expansion(group)
        for parts in [{}] if formula is True else expansion.of(formula):
            left = frozenset(name for name in wanted if _fits(parts.get(Fact.EVENT, ()), name))
            if not left:
                continue
            kept = tuple((fact, formulas) for fact, formulas in sorted(parts.items()) if fact != Fact.EVENT)
            same = found.get((group, kept))
            types_of_both = left if same is None else left | same.event_types
            found[group, kept] = Clause(group, types_of_both, kept)
        if widened is not None:
            widened += [Widening(Reason.ALTERNATIVES, wanted, one) for one in expansion.projected]
    return list(found.values())


def _fits(formulas: tuple[Formula, ...], event: str) -> bool:
    def truth(check: Check) -> bool | None:
        return known_of(check, event)

    return all(possible(formula, truth) for formula in formulas)


class _Expansion:
    """For one group of event types. `projected`: what had too many alternatives, where that shows in the outcome."""

    def __init__(self, group: Group) -> None:
        self.group = group
        self.projected: list[Formula] = []

    def of(self, formula: Formula) -> list[Parts]:
        """Alternatives; none when it cannot hold, one without parts when nothing is known."""
        facts = self._facts(formula)
        if len(facts) == 1:
            (fact,) = facts
            return [{}] if fact is None else [{fact: (formula,)}]
        if isinstance(formula, AnyOf):
            return self._any(formula)
        assert isinstance(formula, AllOf)
        return self._all(formula)

    def _facts(self, formula: Formula) -> frozenset[Fact | None]:
        if isinstance(formula, Leaf):
            return frozenset((fact_of(formula, self.group),))
        return frozenset[Fact | None]().union(*map(self._facts, formula.terms))

    def _any(self, formula: AnyOf) -> list[Parts]:
        alone: dict[Fact, list[Formula]] = {}
        found: list[Parts] = []
        before = len(self.projected)
        for term in formula.terms:
            facts = self._facts(term)
            if len(facts) == 1 and (fact := next(iter(facts))) is not None:
                alone.setdefault(fact, []).append(term)
            else:
                found += self.of(term)
        found += [{fact: (terms[0] if len(terms) == 1 else AnyOf(tuple(terms)),)} for fact, terms in alone.items()]
        if {} in found:
            del self.projected[before:]
            return [{}]
        if len(found) <= MAX_RULE_CLAUSES:
            return found
        del self.projected[before:]
        return [self._projected(formula)]

    def _all(self, formula: AllOf) -> list[Parts]:
        made: list[Parts] = [{}]
        several: list[tuple[Formula, list[Parts]]] = []
        for term in formula.terms:
            alternatives = self.of(term)
            if len(alternatives) > 1:
                several.append((term, alternatives))
            else:
                made = [_met(one, two) for one in made for two in alternatives]
        for term, alternatives in sorted(several, key=lambda pair: len(pair[1])):
            if len(made) * len(alternatives) > MAX_RULE_CLAUSES:
                alternatives = [self._projected(term)]
            made = [_met(one, two) for one in made for two in alternatives]
        return made

    def _projected(self, formula: Formula) -> Parts:
        """What the formula asks of each fact alone: all of it together is no more than the formula asks."""
        self.projected.append(formula)
        made: Parts = {}
        for fact in sorted(one for one in self._facts(formula) if one is not None):
            part = self._of_fact(formula, fact)
            if not isinstance(part, bool):
                made[fact] = (part,)
        return made

    def _of_fact(self, formula: Formula, fact: Fact) -> Formula | bool:
        if isinstance(formula, Leaf):
            return formula if fact_of(formula, self.group) == fact else True
        return _joined((self._of_fact(term, fact) for term in formula.terms), isinstance(formula, AllOf))


def _met(one: Parts, two: Parts) -> Parts:
    return {fact: tuple(dict.fromkeys((*one.get(fact, ()), *two.get(fact, ())))) for fact in {**one, **two}}


def possible(formula: Formula, truth: Callable[[Check], bool | None]) -> bool:
    """Can the formula hold? `truth(check)` is True, False, or None when that is not known."""
    if isinstance(formula, Leaf):
        known = truth(formula.check)
        return known is None or known is formula.positive
    if isinstance(formula, AllOf):
        return all(possible(term, truth) for term in formula.terms)
    return any(possible(term, truth) for term in formula.terms)
