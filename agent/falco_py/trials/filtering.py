# SPDX-License-Identifier: Apache-2.0
"""A rule and the plan of all rules become what the kernel filters of the rule's calls, and what is left to user space.

Event types that behave alike are told together. Invariant: what is said to filter is in the plan that the agent would
load, and whatever the plan widened is told.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from ..events.syscalls import ROWS
from ..kernel.decisions import KINDS, VALUES, checks_of, of_kind, of_name, of_open, of_value
from ..kernel.formulas import MAX_RULE_CLAUSES, AllOf, Fact, Leaf, group_of, possible
from ..kernel.paths import SUFFIX_BYTES, TRIE_KEY_BYTES
from ..kernel.pushdown import MAX_CLAUSES
from ..kernel.widening import Reason
from ..rules.compiler import known_of
from ..rules.wording import condition_text
from ..visible import visible
from .selectivity import opens_of, part_of, wording
from .wording import line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ..kernel.formulas import Clause as Asked
    from ..kernel.formulas import Formula
    from ..kernel.pushdown import Plan
    from ..kernel.widening import Widening
    from ..rules.bundle import Rule
    from ..rules.syntax import Check
    from .outline import Clause

_MANY = 6  # alternatives, paths or event types
_ORDER = (
    Fact.RESULT,
    Fact.OPEN,
    Fact.VALUE,
    Fact.KIND,
    Fact.NUMBER,
    Fact.PORT,
    Fact.ADDRESS,
    Fact.NAME,
    Fact.PROCESS,
    Fact.PATH,
)
_LEARNT = " (from its second call on)"  # entries of the kernel's tables are made as first calls are tested
_STARTS = frozenset(("execve", "execveat"))
_EVERY_START = "every start of a program reaches user space, whatever a rule asks; "
_ENDS = "procexit"


class Comparison(NamedTuple):
    fact: Fact
    text: str
    learnt: bool

    def __str__(self) -> str:
        return f"{self.fact}{_LEARNT * self.learnt}: {_cut(self.text)}"


@dataclass(frozen=True)
class Filtering:
    """Of event types that behave alike. `alternatives`: what the kernel compares, each of them lets a call through.

    `always`: why calls are told whatever the rule asks; `part`: the guess of what reaches user space.
    """

    event_types: tuple[str, ...]
    alternatives: tuple[tuple[Comparison, ...], ...]
    user_space: tuple[str, ...]
    part: float
    widened: tuple[str, ...] = ()
    always: str = ""
    unfiltered: bool = False

    def text(self) -> list[str]:
        shown = ", ".join(self.event_types[:_MANY])
        if len(self.event_types) > _MANY:
            shown += f", ... {len(self.event_types)} in all"
        lines = [f"{shown}: {self.always or wording(self.part)}"]
        lines += ["  " + one for one in _alternatives(self.alternatives)]
        lines += [f"  widened: {one}" for one in self.widened]
        if self.unfiltered:
            lines.append(f"  the kernel filters nothing of it; it would help to ask, in every case, {self.advice()}")
        if self.user_space:
            lines += ["  in user space only:", *(f"    {one}" for one in self.user_space)]
        return lines

    def json(self) -> dict[str, Any]:
        made: dict[str, Any] = {
            "event_types": list(self.event_types),
            "kernel": [
                [{"fact": one.fact.value, "compares": one.text, "learnt": one.learnt} for one in alternative]
                for alternative in self.alternatives
            ],
            "user_space": list(self.user_space),
            "part": float(f"{self.part:.1g}"),
            "estimate": self.always or wording(self.part),
        }
        if self.widened:
            made["widened"] = list(self.widened)
        if self.unfiltered:
            made["would_help"] = self.advice()
        return made

    def advice(self) -> str:
        """What the kernel could compare of all these event types."""
        groups = [group_of(ROWS[event]) for event in self.event_types]
        helps = []
        if all(group.opens for group in groups):
            helps.append("for a path (fd.name startswith /etc/)")
            if "openat2" not in self.event_types:  # its flags lie in the memory of the process
                helps.append("how a file is opened (evt.is_open_write = true)")
        elif all(group.has_fd and not group.opens for group in groups):
            helps.append("for the kind of the fd (fd.type = ipv4)")
        values = {group.value.partition(" ")[2] for group in groups}
        if len(values) == 1 and "" not in values:
            helps.append(f"for the argument evt.arg.{values.pop()}")
        if all(group.result for group in groups):
            helps.append("for a result (evt.failed = false)")
        return ", ".join([*helps, "for the thread's name (proc.name)"]) + " or for the program (proc.exepath)"


def filtering(rule: Rule, outline: Clause, plan: Plan) -> list[Filtering]:
    """In the order of the event types' names."""
    told = _Telling(rule.name, outline, plan)
    alike: dict[Filtering, list[str]] = {}
    for event in sorted(rule.event_types):
        alike.setdefault(told.of(event), []).append(event)
    return [replace(one, event_types=tuple(events)) for one, events in alike.items()]


class _Telling:
    """For one rule."""

    def __init__(self, rule: str, outline: Clause, plan: Plan) -> None:
        self.outline = outline
        self.clauses = [one for one, rules in zip(plan.clauses, plan.rules, strict=True) if rule in rules]
        self.widened = [one for one in plan.widened if rule in one.rules]
        self.texts = {one.check: one.text for one in _checks(outline) if one.check is not None}

    def of(self, event: str) -> Filtering:
        """`event_types` are left out."""
        if event == _ENDS:
            return self._filtering(event, [], "every end of a process reaches user space, whatever a rule asks")
        clauses = [one for one in self.clauses if event in one.event_types]
        open_clauses = [one for one in clauses if _can_hold(one, event)]
        always = ""
        if event in _STARTS:
            always = _EVERY_START + (
                "those that fail do, too"
                if any(not one.parts for one in open_clauses)
                else "those that fail are filtered"
            )
        return self._filtering(event, open_clauses, always)

    def _filtering(self, event: str, clauses: Sequence[Asked], always: str) -> Filtering:
        alternatives: list[tuple[Comparison, ...]] = []
        compared: set[Check] = set()
        for clause in clauses:
            mine = []
            for fact in _ORDER:
                for formula in _terms(clause.formulas(fact)):
                    if _decides(formula, fact, event):
                        mine.append(Comparison(fact, self._text(formula), _is_learnt(formula, fact)))
                        compared.update(checks_of((formula,)))
            alternatives.append(tuple(mine))
        whole = () in alternatives
        left = self._left(self.outline, event, set() if whole else compared) if clauses or always else ()
        return Filtering(
            event_types=(),
            alternatives=((),) if whole else tuple(dict.fromkeys(alternatives)),
            user_space=tuple(dict.fromkeys(left)),
            part=1.0 if whole or always else part_of(clauses, event),
            widened=tuple(dict.fromkeys(self._widening(one) for one in self.widened if event in one.event_types)),
            always=always,
            unfiltered=whole and not always,
        )

    def _text(self, formula: Formula) -> str:
        if isinstance(formula, Leaf):
            text = visible(self.texts.get(formula.check) or condition_text(formula.check))
            return text if formula.positive else f"not {text}"
        word = " and " if isinstance(formula, AllOf) else " or "
        return "(" + word.join(map(self._text, formula.terms)) + ")"

    def _left(self, clause: Clause, event: str, compared: set[Check]) -> Iterator[str]:
        """What the kernel does not compare, in the largest pieces."""
        if _known(clause, event) is not None:
            return
        mine = {one.check for one in _checks(clause) if one.check is not None}
        if mine.isdisjoint(compared) and (clause.kind != "and" or clause is not self.outline):
            yield line(clause)
            return
        if clause.kind == "check":
            return
        if clause.kind == "not":
            inner = clause.terms[0]
            if inner.kind == "check":
                return
            yield from (f"not {one}" for one in self._left(inner, event, compared))
            return
        for term in clause.terms:
            yield from self._left(term, event, compared)

    def _widening(self, one: Widening) -> str:
        if one.reason is Reason.ALTERNATIVES:
            assert one.formula is not None
            return (f"there are more than {MAX_RULE_CLAUSES} alternatives, so each fact is compared for itself: "
                    f"{_cut(self._text(one.formula))}")  # fmt: skip
        if one.reason is Reason.CLAUSES:
            return (f"all rules together have more than {MAX_CLAUSES} alternatives, so this rule is one of "
                    f"{len(one.rules)} that share what the kernel compares")  # fmt: skip
        paths = sorted(_STARS.get(pattern.kind, "{}").format(visible(pattern.text)) for pattern in one.patterns)
        shown = ", ".join(map(_cut, paths[:_MANY])) + (f", ... {len(paths)} in all" if len(paths) > _MANY else "")
        if one.reason is Reason.PATHS:
            return f"of paths that must all fit, only those that tell most are looked up, not {shown}"
        return (f"paths are looked up by their first {TRIE_KEY_BYTES - 1} bytes, how they end by the last component or "
                f"{SUFFIX_BYTES} bytes of it: {shown}")  # fmt: skip


_STARS = {"prefix": "{}*", "name": "*/{}", "suffix": "*{}"}
_LONGEST = 300  # characters of a formula


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "..."


def _alternatives(alternatives: Sequence[Sequence[Comparison]]) -> Iterator[str]:
    """What all have in common first."""
    if not alternatives:
        return
    common = [one for one in alternatives[0] if all(one in other for other in alternatives)]
    yield from map(str, common)
    rest = [[one for one in mine if one not in common] for mine in alternatives]
    if len(rest) < 2:
        return
    yield "and one of" if common else "one of"
    for mine in rest[:_MANY]:
        yield "  " + ("; ".join(map(str, mine)) or "whatever else")
    if len(rest) > _MANY:
        yield f"  ... {len(rest)} in all"


def _checks(clause: Clause) -> Iterator[Clause]:
    if clause.kind == "check":
        yield clause
    for term in clause.terms:
        yield from _checks(term)


def _terms(formulas: Sequence[Formula]) -> Iterator[Formula]:
    for formula in formulas:
        if isinstance(formula, AllOf):
            yield from _terms(formula.terms)
        else:
            yield formula


def _truths(fact: Fact, event: str) -> list[Callable[[Check], bool | None]] | None:
    """What the comparisons say of each class of values that a call can have; None when that depends on the rule."""
    if fact is Fact.OPEN:
        return [lambda check, one=one: of_open(check, one) for one in opens_of(event)]  # type: ignore[misc]
    if fact is Fact.KIND:
        return [lambda check, one=one: of_kind(check, one) for one in range(len(KINDS))]  # type: ignore[misc]
    if fact is Fact.VALUE:
        return [lambda check, one=one: of_value(check, event, one) for one in range(VALUES)]  # type: ignore[misc]
    return None


def _decides(formula: Formula, fact: Fact, event: str) -> bool:
    """Whether the kernel drops some call on its account."""
    if isinstance(formula, Leaf) and (formula.check.right == () or formula.check.op == "exists"):
        return formula.check.right == () and formula.positive
    truths = _truths(fact, event)
    return truths is None or any(not possible(formula, truth) for truth in truths)


def _can_hold(clause: Asked, event: str) -> bool:
    """Whether some call of the event type can get through; of creat, none that is to be open for reading."""
    truths = _truths(Fact.OPEN, event) or [] if ROWS[event] and group_of(ROWS[event]).opens else []
    formulas = clause.formulas(Fact.OPEN)
    return not truths or any(all(possible(one, truth) for one in formulas) for truth in truths)


def _is_learnt(formula: Formula, fact: Fact) -> bool:
    if fact is Fact.NAME:
        return any(of_name(check, None) is None for check in checks_of((formula,)))
    return fact is Fact.PROCESS


def _known(clause: Clause, event: str) -> bool | None:
    """What the event type alone decides."""
    if clause.check is not None:
        return False if clause.check.right == () else known_of(clause.check, event)
    truths = [_known(term, event) for term in clause.terms]
    if clause.kind == "not":
        return None if truths[0] is None else not truths[0]
    if clause.kind == "or":
        return True if True in truths else None if None in truths else False
    return False if False in truths else None if None in truths else True
