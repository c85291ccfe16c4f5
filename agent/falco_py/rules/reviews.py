# SPDX-License-Identifier: Apache-2.0
"""A rule whose macros are opened becomes what only the whole condition tells: contradictions, events that cannot be,
and comparisons that are false for want of a value.

Each finding stands in the condition that wrote it: the rule's own, or a macro's when everything is in that macro.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .absences import absences
from .checks import checks
from .contradictions import Conflict, Contradictions
from .inference import EVENT_TYPE_FIELDS, is_never, names_of
from .problems import Finding
from .resolve import references
from .syntax import And, Check, FieldExpr, Not, Or
from .wording import condition_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from .shapes import Shapes
    from .syntax import Node

_CODE = "LOAD_COMPILE_CONDITION"
_LONGEST = 60  # characters of a condition in a message


class Review:
    """Reviews the rules of one load. `macros`: name -> the tree as written, of all macros."""

    def __init__(self, catalogue: Any, macros: Mapping[str, Node], shapes: Shapes) -> None:
        self.catalogue = catalogue
        self.macros = macros
        self.contradictions = Contradictions(shapes)
        self._checks: dict[str, frozenset[int]] = {}

    def findings(
        self, tree: Node, opened: Node, event_types: frozenset[str], uses: frozenset[str]
    ) -> Iterator[tuple[str, Finding]]:
        """(the macro it stands in, "" for the rule; the finding). `tree` is the condition as written, `uses` are the
        macros that it was opened with."""
        own = frozenset(map(id, checks(tree)))
        typed = False
        for conflict in self.contradictions.of(opened):
            typed = typed or _is_typed(conflict.first)
            yield self._told(conflict, tree, own, uses)
        if not event_types and not typed:
            yield from self._no_event(tree, opened)
        for absence in absences(opened, self.catalogue, event_types):
            macro = self._home(absence.check, own, uses)
            if macro is not None:
                yield macro, Finding(absence.check.at, absence.message, absence.hint, code=_CODE)

    def _told(self, conflict: Conflict, tree: Node, own: frozenset[int], uses: frozenset[str]) -> tuple[str, Finding]:
        first, second = _first_check(conflict.first), _first_check(conflict.second)
        homes = self._home(first, own, uses), self._home(second, own, uses)
        other, node, check = conflict.first, conflict.second, second
        if (homes[0] == homes[1] and first.at > second.at) or (homes[1] and not homes[0]):
            other, node, check = node, other, first
        home = homes[0] if homes[0] == homes[1] else ""
        at = check.at
        if home == "" and "" not in homes:
            at = self._reference(tree, homes)
        finding = Finding(at, *_words(conflict.always, _short(node), _short(other)), code=_CODE)
        return home or "", finding

    def _reference(self, tree: Node, homes: tuple[str | None, ...]) -> int:
        """Where the condition names a macro that brings the comparison in."""
        found = [ref.at for ref in references(tree) if ref.name in homes]
        return max(found, default=0)

    def _home(self, check: Check, own: frozenset[int], uses: frozenset[str]) -> str | None:
        if id(check) in own:
            return ""
        for name in sorted(uses):
            if name not in self._checks:
                self._checks[name] = (
                    frozenset(map(id, checks(self.macros[name]))) if name in self.macros else frozenset()
                )
            if id(check) in self._checks[name]:
                return name
        return None

    def _no_event(self, tree: Node, opened: Node) -> Iterator[tuple[str, Finding]]:
        all_checks = list(checks(opened))
        if any(map(is_never, all_checks)):
            return  # switched off on purpose
        typed = [one for one in all_checks if _is_typed(one)]
        named = sorted(frozenset[str]().union(*map(names_of, typed)) - self.catalogue.universe)
        at = next((one.at for one in checks(tree) if _is_typed(one)), 0)
        if named:
            message, hint = f"events of type {', '.join(named)} are never made here", "the rule never fires"
        else:
            message, hint = "no event type fits the whole condition", "the rule never fires: look at its evt.type parts"
        yield "", Finding(at, message, hint, code=_CODE)


def _is_typed(node: Node) -> bool:
    return isinstance(node, Check) and isinstance(node.left, FieldExpr) and node.left.name in EVENT_TYPE_FIELDS


def _first_check(node: Node) -> Check:
    while not isinstance(node, Check):
        assert isinstance(node, Not | And | Or)
        node = node.term if isinstance(node, Not) else node.terms[0]
    return node


def _short(node: Node) -> str:
    text = condition_text(node)
    return f"'{text}'" if len(text) <= _LONGEST else f"'{text[:_LONGEST]}...'"


def _words(always: bool, one: str, other: str) -> tuple[str, str]:
    if always:
        return f"always true: when {other} does not hold, {one} does", "is 'and' meant?"
    return f"never true: {one} and {other} exclude each other", "is 'or' meant? If not, take one of them out"
