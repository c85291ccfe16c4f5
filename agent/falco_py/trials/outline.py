# SPDX-License-Identifier: Apache-2.0
"""The condition of a rule becomes a tree for people: macros and exceptions keep their names, lists are cut short.

Invariant: the tree holds for the same events as the rule; each comparison in it is one of the condition's or a macro's
own, so what is found about it once holds wherever the macro is used.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from ..rules.syntax import And, Check, FieldExpr, MacroRef, Not
from ..rules.syntax import Literal as Word
from ..rules.wording import condition_text

if TYPE_CHECKING:
    from ..rules.bundle import Loader
    from ..rules.places import Text
    from ..rules.syntax import Node

Kind = Literal["check", "not", "and", "or", "macro", "exception"]
_SHOWN_VALUES = 4  # of a list, when there are more than `_MANY`
_MANY = 6


@dataclass(frozen=True, slots=True, eq=False)
class Clause:
    """`name`: of a macro or an exception. `text`: of a comparison, with long lists cut short; `whole`: not cut.

    `place`: file:line:column of a comparison, macro or exception.
    """

    kind: Kind
    terms: tuple[Clause, ...] = ()
    name: str = ""
    text: str = ""
    whole: str = ""
    place: str = ""
    check: Check | None = None


class Outlines:
    """Makes the trees of one load; a macro is made once."""

    def __init__(self, loader: Loader) -> None:
        self.loader = loader
        self._macros: dict[str, Clause] = {}
        self._rules: dict[str, Clause] = {}

    def rule(self, name: str) -> Clause:
        """The same tree every time. Raises KeyError."""
        found = self._rules.get(name)
        if found is None:
            found = self._rules[name] = self._rule(name)
        return found

    def _rule(self, name: str) -> Clause:
        condition = self.loader.rule_conditions[name]
        definition = self.loader.definitions.rules[name]
        written = [one for one in definition.exceptions if one.values]
        tree = condition.tree
        if not written:
            return self._clause(tree, condition.text)
        assert isinstance(tree, And)
        own, behind = tree.terms[: -len(written)], tree.terms[-len(written) :]
        terms = [self._clause(term, condition.text) for term in own]
        for exception, term in zip(written, behind, strict=True):
            assert isinstance(term, Not)
            place = exception.name.place
            terms.append(Clause("not", (
                Clause("exception", (self._clause(term.term, condition.text),), exception.name.value,
                       place=f"{place.file}:{place.line}:{place.column}"),
            )))  # fmt: skip
        return Clause("and", tuple(terms))

    def _clause(self, node: Node, text: Text) -> Clause:
        if isinstance(node, Check):
            return self._check(node, text)
        if isinstance(node, MacroRef):
            return replace(self._macro(node.name), place=_place(text, node.at))
        if isinstance(node, Not):
            return Clause("not", (self._clause(node.term, text),))
        kind: Kind = "and" if isinstance(node, And) else "or"
        return Clause(kind, tuple(self._clause(term, text) for term in node.terms))

    def _macro(self, name: str) -> Clause:
        found = self._macros.get(name)
        if found is None:
            condition = self.loader.macro_conditions[name]
            found = self._macros[name] = Clause("macro", (self._clause(condition.tree, condition.text),), name)
        return found

    def _check(self, check: Check, text: Text) -> Clause:
        whole = condition_text(check)
        right = check.right
        shown = whole
        if isinstance(right, tuple) and len(right) > 1:
            words, cut = self._words(right, text)
            if cut:
                shown = condition_text(replace(check, right=words))
                for one in cut:
                    shown = shown.replace(_MARK, one, 1)
        return Clause("check", text=shown, whole=whole, place=_place(text, check.at), check=check)

    def _words(self, right: tuple[Word, ...], text: Text) -> tuple[tuple[Word, ...], list[str]]:
        """The values with a mark for each list; what stands for the marks."""
        made: list[Word] = []
        lists: list[tuple[str, tuple[Word, ...]]] = []
        start = 0
        while start < len(right):
            name = self._list_at(right[start], text)
            end = start + 1
            while end < len(right) and name and _origin(right[end], text) == _origin(right[start], text):
                end += 1
            group = right[start:end]
            if name:
                lists.append((name, group))
                made.append(Word(_MARK, right[start].at))
            else:
                made.extend(group)
            start = end
        if len(lists) == 1:
            return tuple(made), [f"{lists[0][0]}: {_some(lists[0][1])}"]
        if not lists and len(made) > _MANY:
            return (Word(_MARK, made[0].at),), [_some(made)]
        return tuple(made), [f"{name}: {len(group)} values" for name, group in lists]

    def _list_at(self, word: Word, text: Text) -> str:
        """The list that the value was written for; empty for a value that stands there itself."""
        if text.is_verbatim(word.at, word.at):
            return ""
        scalar, offset = text.origin(word.at)
        rest = scalar.value[offset:]
        names = [name for name in self.loader.definitions.lists if rest.startswith(name)]
        return max(names, key=len, default="")


_MARK = "\x01"  # no condition holds it
_ANY = FieldExpr("a.b", None, 0)


def _some(words: tuple[Word, ...] | list[Word]) -> str:
    texts = [condition_text(Check(_ANY, "=", (word,), 0)).partition(" = ")[2] for word in words]
    if len(texts) <= _MANY:
        return ", ".join(texts)
    return f"{', '.join(texts[:_SHOWN_VALUES])}, ... {len(texts)} in all"


def _origin(word: Word, text: Text) -> tuple[int, int]:
    scalar, offset = text.origin(word.at)
    return id(scalar), offset


def _place(text: Text, at: int) -> str:
    place = text.where(min(at, max(0, len(text.value) - 1)))[1]
    return f"{place.file}:{place.line}:{place.column}"
