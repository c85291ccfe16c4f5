# SPDX-License-Identifier: Apache-2.0
"""Every comparison of a tree as written becomes findings: what is wrong with it, and what is legal but odd.

Trees are looked at before macros are opened, so an offset is one in the text that the comparison stands in.
Invariant: a tree without an error finding compiles.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from .expressions import CheckError
from .inference import EVENT_TYPE_FIELDS
from .oddities import empty_set, missing_parameter, oddities
from .operators import LIST_OPERATORS
from .problems import Finding, nearest
from .syntax import And, Check, FieldExpr, Literal, Node, Not, Or, operand_fields, spelled

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from .compiler import Compiler
    from .places import Text

_FIELD_LIKE = re.compile(r"[a-z][a-z0-9_]*(?:\.[a-z0-9_]+)+(?:\[[^\]]*\])?", re.ASCII)
_NA_OPERATORS = frozenset(("=", "==", "!=", *LIST_OPERATORS))
_REGEX_SIGNS = re.compile(r"[\\^$.|?*+(){}\[\]]")


def checks(node: Node) -> Iterator[Check]:
    """The comparisons of a tree, from left to right."""
    rest = [node]
    while rest:
        one = rest.pop()
        if isinstance(one, Check):
            yield one
        elif isinstance(one, Not):
            rest.append(one.term)
        elif isinstance(one, And | Or):
            rest.extend(reversed(one.terms))


def fields(check: Check) -> Iterator[FieldExpr]:
    """The fields that a comparison reads."""
    yield from operand_fields(check.left)
    if check.right is not None and not isinstance(check.right, tuple):
        yield from operand_fields(check.right)


def deprecated(field: Any, at: int) -> Finding | None:
    """Fields that belong to enter events, which Falco no longer makes."""
    if not field.deprecated or not field.name.startswith("evt."):
        return None
    return Finding(at, f"field '{field.name}' is deprecated", field.doc, code="LOAD_DEPRECATED_ITEM")


class Checker:
    """`lists` are the names of all lists, to tell a list from a word."""

    def __init__(self, catalogue: Any, compiler: Compiler, lists: Iterable[str]) -> None:
        self.catalogue = catalogue
        self.compiler = compiler
        self.lists = tuple(lists)

    def findings(self, tree: Node, text: Text) -> list[Finding]:
        """What is to be said about the comparisons of `tree`, which was parsed from `text`."""
        found: list[Finding] = []
        for check in checks(tree):
            try:
                self._event_names(check)
                self.compiler.expression(check)
            except CheckError as wrong:
                found.append(wrong.finding)
            else:
                found += self._oddities(check, text)
        return found

    def _event_names(self, check: Check) -> None:
        if not _is_typed(check):
            return
        assert isinstance(check.left, FieldExpr)
        if check.right is not None and not isinstance(check.right, tuple):
            raise CheckError(check.at, f"{check.left.name} cannot be compared with a field")
        known = self.catalogue.known_events
        for literal in check.right or ():
            if literal.text not in known:
                hint = nearest(literal.text, known) or "falco-py --list-events shows the event types"
                raise CheckError(literal.at, f"unknown event type {literal.text}", hint, unknown=True)

    def _oddities(self, check: Check, text: Text) -> Iterator[Finding]:
        for expr in fields(check):
            field, arg = self.catalogue.lookup(spelled(expr))
            old = deprecated(field, expr.at)
            if old is not None:
                yield old
            for odd in missing_parameter(field, arg, expr.at):
                yield Finding(*odd, code="LOAD_COMPILE_CONDITION")
            for odd in oddities(check, field, arg) if expr is check.left else ():
                yield Finding(*odd, code="LOAD_COMPILE_CONDITION")
        if not isinstance(check.right, tuple):
            return
        if not check.right and not _is_typed(check) and _as_written(text, check.at):
            yield Finding(*empty_set(check), code="LOAD_COMPILE_CONDITION")
        for literal in check.right:
            yield from self._odd_value(check, literal, text.value)

    def _odd_value(self, check: Check, literal: Literal, text: str) -> Iterator[Finding]:
        word = literal.text
        if word == "<NA>" and check.op in _NA_OPERATORS and any(map(_is_of_audit, fields(check))):
            message = "a field that is missing equals nothing, <NA> neither"
            yield _odd(literal, message, "use 'exists', or 'not' and 'exists'", "LOAD_UNSAFE_NA_CHECK")
        if not literal.quoted and _FIELD_LIKE.fullmatch(word) and self.catalogue.lookup(word) is not None:
            yield _odd(literal, f"'{word}' is a field but is compared as text", f"for the field write val({word})")
        if (check.modifier or check.op in LIST_OPERATORS) and text[: literal.at].rstrip(" \t\b\r\n")[-1:] not in (
            "(",
            ",",
        ):
            yield _odd(literal, f"'{word}' is not a list; it is compared as text", nearest(word, self.lists))
        if check.op == "regex" and not _REGEX_SIGNS.search(_core(word)):
            yield _odd(
                literal,
                f"regex check with '{word}' may be optimized with simpler operators such as '=', 'startswith', "
                "'endswith' or 'contains'",
            )


def _is_typed(check: Check) -> bool:
    """Is it about the event type? Then the whole condition tells whether any is left."""
    return isinstance(check.left, FieldExpr) and check.left.name in EVENT_TYPE_FIELDS


def _as_written(text: Text, at: int) -> bool:
    """Does the next `(` begin an empty list that the author wrote, rather than one that names an empty list?"""
    start = text.value.find("(", at)
    return start >= 0 and text.is_verbatim(start, text.value.find(")", start))


def _is_of_audit(expr: FieldExpr) -> bool:
    return expr.name.startswith(("ka.", "jevt."))


def _odd(literal: Literal, message: str, hint: str = "", code: str = "LOAD_COMPILE_CONDITION") -> Finding:
    return Finding(literal.at, message, hint, code=code)


def _core(pattern: str) -> str:
    """A regular expression without what it may begin and end with and still be a plain comparison."""
    return pattern.removeprefix("^").removesuffix("$").removeprefix(".*").removesuffix(".*")
