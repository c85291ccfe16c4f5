# SPDX-License-Identifier: Apache-2.0
"""Conditions become Python source, one function for each event type that tests all its rules, and code objects.

What the event type decides is folded away, so a function holds only what is open for its events. Invariant: the
function gives what Falco's evaluation of the same rules in the same order gives; the source is readable and is kept.
"""

from __future__ import annotations

import linecache
from typing import TYPE_CHECKING, Any

from .inference import EVENT_TYPE_FIELDS, is_never
from .patterns import PathSet, glob_match, iglob_match, regex_matcher
from .syntax import And, Check, FieldExpr, Literal, Node, Not, Or

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .bundle import Rule
    from .expressions import Writer

Folded = Node | bool


def fold(node: Node, event: str) -> Folded:
    """`node` for events of this type: what that decides becomes True or False and goes away."""
    if isinstance(node, Not):
        term = fold(node.term, event)
        return not term if isinstance(term, bool) else Not(term)
    if isinstance(node, And | Or):
        kind = And if isinstance(node, And) else Or
        deciding = kind is Or
        terms: list[Node] = []
        for one in node.terms:
            folded = fold(one, event)
            if isinstance(folded, bool):
                if folded is deciding:
                    return deciding
                continue
            terms.append(folded)
        if not terms:
            return not deciding
        return terms[0] if len(terms) == 1 else kind(tuple(terms))
    assert isinstance(node, Check)
    if isinstance(node.left, FieldExpr) and node.left.arg is None and isinstance(node.right, tuple | None):
        if node.left.name in EVENT_TYPE_FIELDS:
            return _event_type(node, event)
        if node.left.name == "evt.num" and is_never(node):
            return False
    return node


def _event_type(check: Check, event: str) -> bool:
    right = check.right if isinstance(check.right, tuple) else ()
    values = [one.text for one in right]
    tests = [_text_test(check.op, event, value) for value in values]
    if check.op == "exists":
        return True
    if check.op == "pmatch":
        return PathSet(values).match(event)
    if check.modifier == "allof":
        return bool(tests) and all(tests)
    if check.modifier == "oneof":
        return sum(tests) == 1
    return any(tests)


def _text_test(op: str, value: str, wanted: str) -> bool:
    simple: dict[str, Callable[[], bool]] = {
        "=": lambda: value == wanted,
        "==": lambda: value == wanted,
        "in": lambda: value == wanted,
        "intersects": lambda: value == wanted,
        "!=": lambda: value != wanted,
        "<": lambda: value < wanted,
        "<=": lambda: value <= wanted,
        ">": lambda: value > wanted,
        ">=": lambda: value >= wanted,
        "contains": lambda: wanted in value,
        "icontains": lambda: wanted.lower() in value.lower(),
        "startswith": lambda: value.startswith(wanted),
        "endswith": lambda: value.endswith(wanted),
        "glob": lambda: glob_match(value, wanted),
        "iglob": lambda: iglob_match(value, wanted),
        "regex": lambda: regex_matcher(wanted)(value),
    }
    return simple[op]() if op in simple else False


class Compiler:
    """Compiles rules whose trees hold no macro references. `writer` has seen every check of theirs already."""

    def __init__(self, writer: Writer) -> None:
        self.writer = writer
        self._written: dict[Check, str] = {}

    def expression(self, node: Node) -> str:
        """Raises expressions.CheckError."""
        if isinstance(node, Check):
            found = self._written.get(node)
            if found is None:
                found = self._written[node] = self.writer.check(node)
            return found
        if isinstance(node, Not):
            inner = self.expression(node.term)
            return f"not {inner}" if isinstance(node.term, Check) and inner[:1] == "(" else f"not ({inner})"
        if isinstance(node, And):
            return " and ".join(self._inside_and(term) for term in node.terms)
        assert isinstance(node, Or)
        return " or ".join(self.expression(term) for term in node.terms)

    def _inside_and(self, node: Node) -> str:
        inner = self.expression(node)
        return f"({inner})" if isinstance(node, Or) else inner

    def matcher(self, event: str, rules: Sequence[Rule], every: bool) -> tuple[str, Any] | None:
        """(source, function) for one event type; None when no rule can match there.

        The function gives the first rule that matches or None, or with `every` a tuple of all that match.
        """
        lines = ["def match(e):"]
        names: dict[str, Any] = {}
        if every:
            lines.append("    found = []")
        for rule in rules:
            folded = fold(rule.tree, event)
            if folded is False:
                continue
            name = f"RULE{rule.index}"
            names[name] = rule
            lines.append(f"    # {' '.join(rule.name.split())}: {rule.place}")
            done = f"found.append({name})" if every else f"return {name}"
            if folded is True:
                lines.append(f"    {done}")
                if not every:
                    break
                continue
            lines.append(f"    if {self.expression(folded)}:")
            lines.append(f"        {done}")
        if not names:
            return None
        lines.append("    return tuple(found)" if every else "    return None")
        source = "\n".join(lines) + "\n"
        return source, self._function(source, f"<rules:{event}>", names)

    def _function(self, source: str, filename: str, names: dict[str, Any]) -> Any:
        code = compile(source, filename, "exec")
        linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
        scope: dict[str, Any] = {**self.writer.names, **names}
        exec(code, scope)
        return scope["match"]
