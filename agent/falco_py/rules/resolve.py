# SPDX-License-Identifier: Apache-2.0
"""Macro references in a tree become the macros' own trees.

Invariant: the result holds no `MacroRef`; a macro that is undefined, not visible or refers to itself is an
`MacroError` with its place in the text it was named in.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .problems import nearest
from .syntax import And, Check, MacroRef, Node, Not, Or

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


@dataclass(slots=True)
class Macro:
    """A macro whose text was parsed; `tree` is None when it could not be."""

    name: str
    tree: Node | None
    position: int
    visible_from: int
    use: Callable[[], None]


class MacroError(Exception):
    def __init__(self, at: int, message: str, hint: str = "", quiet: bool = False) -> None:
        super().__init__(message)
        self.at, self.message, self.hint, self.quiet = at, message, hint, quiet


def expand(node: Node, macros: Mapping[str, Macro], visible_from: int | None = None) -> Node:
    """`visible_from`: position of the macro that the tree belongs to; None for rules, which see every macro.

    Raises MacroError; `quiet` when the macro itself was already complained about.
    """
    return _expand(node, macros, visible_from, ())


def _expand(node: Node, macros: Mapping[str, Macro], visible_from: int | None, above: tuple[str, ...]) -> Node:
    if isinstance(node, Check):
        return node
    if isinstance(node, Not):
        term = _expand(node.term, macros, visible_from, above)
        return term.term if isinstance(term, Not) else Not(term)
    if isinstance(node, MacroRef):
        return _opened(node, macros, visible_from, above)
    kind = And if isinstance(node, And) else Or
    terms: list[Node] = []
    for one in node.terms:
        term = _expand(one, macros, visible_from, above)
        terms.extend(term.terms if isinstance(term, kind) else (term,))
    return kind(tuple(terms))


def _opened(ref: MacroRef, macros: Mapping[str, Macro], visible_from: int | None, above: tuple[str, ...]) -> Node:
    macro = macros.get(ref.name)
    if macro is None:
        raise MacroError(ref.at, f"Undefined macro '{ref.name}' used in filter.", nearest(ref.name, macros))
    if ref.name in above:
        raise MacroError(ref.at, f"reference loop in macro '{ref.name}'")
    if visible_from is not None and macro.position >= visible_from:
        raise MacroError(
            ref.at,
            f"Undefined macro '{ref.name}' used in filter.",
            "it is defined further down; a macro may only use macros that were defined before it",
        )
    if macro.tree is None:
        raise MacroError(ref.at, f"macro '{ref.name}' has an error of its own", quiet=True)
    macro.use()
    try:
        return _expand(macro.tree, macros, macro.visible_from, (*above, ref.name))
    except MacroError as inner:
        raise MacroError(ref.at, f"in macro '{ref.name}': {inner.message}", inner.hint, quiet=True) from None
