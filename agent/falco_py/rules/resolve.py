# SPDX-License-Identifier: Apache-2.0
"""Macro references in a tree become the macros' own trees.

Each macro is opened once and shared by all that name it. Invariant: an opened tree holds no `MacroRef`, no more than
`MAX_CHECKS` comparisons and no more than `MAX_LEVELS` levels; a mistake in a macro is reported once, at the macro.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from .kept import Memo
from .problems import nearest
from .syntax import And, Check, MacroRef, Node, Not, Or

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MAX_CHECKS = 10_000
MAX_LEVELS = 4_000


@dataclass(slots=True)
class Macro:
    """A macro whose text was parsed; `tree` is None when it could not be.

    `visible_from`: macros first defined at this position or later may not be named in it. `checks` and `levels`
    measure the opened tree, `uses` are the macros that it was put together from.
    """

    name: str
    tree: Node | None
    position: int
    visible_from: int
    state: Literal["new", "open", "done", "failed"] = "new"
    opened: Node | None = None
    checks: int = 0
    levels: int = 0
    uses: frozenset[str] = frozenset()


class MacroError(Exception):
    """`at`: offset of the reference. `quiet`: the macro referred to was complained about already."""

    def __init__(self, at: int, message: str, hint: str = "", quiet: bool = False) -> None:
        super().__init__(message)
        self.at, self.message, self.hint, self.quiet = at, message, hint, quiet


def references(node: Node) -> Iterator[MacroRef]:
    """The macro references of a tree as written."""
    rest = [node]
    while rest:
        one = rest.pop()
        if isinstance(one, MacroRef):
            yield one
        elif isinstance(one, Not):
            rest.append(one.term)
        elif isinstance(one, And | Or):
            rest.extend(reversed(one.terms))


class Macros:
    """All macros by name. `complain` is told what is wrong in the text of a macro; `nodes` keeps opened trees."""

    def __init__(self, complain: Callable[[str, MacroError], None], nodes: Memo[Node] | None = None) -> None:
        self.nodes = Memo[Node]() if nodes is None else nodes
        self.by_name: dict[str, Macro] = {}
        self._opening: list[str] = []  # the macros being opened, each named by the one before it
        self._complain = complain

    def add(self, macro: Macro) -> None:
        self.by_name[macro.name] = macro

    def open_all(self) -> None:
        """Opens every macro, used or not: a macro with a mistake is a problem of its own."""
        for macro in self.by_name.values():
            self._open(macro)

    def expand(self, tree: Node) -> Node:
        """The tree of a rule without macro references. Raises MacroError."""
        return _Expansion(self, None).tree(tree)[0]

    def uses(self, tree: Node) -> frozenset[str]:
        """The macros that a tree refers to, directly or not; those that are not there are left out."""
        found: set[str] = set()
        rest = [ref.name for ref in references(tree)]
        while rest:
            name = rest.pop()
            macro = self.by_name.get(name)
            if macro is None or name in found:
                continue
            found.add(name)
            if macro.state == "done":
                found |= macro.uses
            elif macro.tree is not None:
                rest.extend(ref.name for ref in references(macro.tree))
        return frozenset(found)

    def _open(self, macro: Macro) -> None:
        if macro.state != "new":
            return
        if macro.tree is None:
            macro.state = "failed"
            return
        macro.state = "open"
        expansion = _Expansion(self, macro)
        self._opening.append(macro.name)
        try:
            macro.opened, macro.levels = expansion.tree(macro.tree)
        except MacroError as error:
            macro.state = "failed"
            if not error.quiet:
                self._complain(macro.name, error)
            return
        finally:
            self._opening.pop()
        macro.checks, macro.uses, macro.state = expansion.checks, frozenset(expansion.used), "done"

    def _loop(self, name: str) -> str:
        """The macro that Falco blames: it looks at what the first macro names, not at the first macro itself."""
        return self._opening[1] if name == self._opening[0] and len(self._opening) > 1 else name

    def lookup(self, ref: MacroRef, within: Macro | None) -> Macro:
        """The opened macro that `ref` names in the text of `within`, or of a rule. Raises MacroError."""
        macro = self.by_name.get(ref.name)
        if macro is None:
            raise MacroError(ref.at, f"Undefined macro '{ref.name}' used in filter.", nearest(ref.name, self.by_name))
        if within is not None and macro.position >= within.visible_from:
            raise MacroError(
                ref.at,
                f"Undefined macro '{ref.name}' used in filter.",
                "it is defined further down; a macro may only use macros that were defined before it",
            )
        if macro.state == "open":
            raise MacroError(ref.at, f"reference loop in macro '{self._loop(ref.name)}'")
        self._open(macro)
        if macro.state == "failed":
            raise MacroError(ref.at, f"macro '{ref.name}' has an error of its own", quiet=True)
        return macro


class _Expansion:
    """The opening of one tree; counts as it goes, so that nothing grows without bound."""

    def __init__(self, macros: Macros, within: Macro | None) -> None:
        self.macros = macros
        self.within = within
        self.checks = 0
        self.used: set[str] = set()

    def tree(self, node: Node) -> tuple[Node, int]:
        """(opened tree, its levels)."""
        if isinstance(node, Check):
            self.checks += 1
            return node, 1
        if isinstance(node, MacroRef):
            return self._macro(node)
        if isinstance(node, Not):
            term, levels = self.tree(node.term)
            if isinstance(term, Not):
                return term.term, levels - 1
            return self.macros.nodes.get((term,), Not, lambda: Not(term)), levels + 1
        kind = And if isinstance(node, And) else Or
        terms: list[Node] = []
        deepest = 0
        for one in node.terms:
            term, levels = self.tree(one)
            if isinstance(term, kind):
                terms.extend(term.terms)
                levels -= 1
            else:
                terms.append(term)
            deepest = max(deepest, levels)
        members = tuple(terms)
        return self.macros.nodes.get(members, kind, lambda: kind(members)), deepest + 1

    def _macro(self, ref: MacroRef) -> tuple[Node, int]:
        macro = self.macros.lookup(ref, self.within)
        assert macro.opened is not None
        self.used |= {macro.name, *macro.uses}
        self.checks += macro.checks
        if self.checks > MAX_CHECKS:
            raise MacroError(ref.at, f"with macro '{ref.name}' the condition grows over {MAX_CHECKS} comparisons",
                             "macros name each other too often")  # fmt: skip
        if macro.levels > MAX_LEVELS:
            raise MacroError(ref.at, f"macro '{ref.name}' is nested more than {MAX_LEVELS} levels deep")
        return macro.opened, macro.levels
