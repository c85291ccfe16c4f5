# SPDX-License-Identifier: Apache-2.0
"""Conditions become Python source, one function for each event type that tests all its rules, and code objects.

What the event type decides is folded away, so a function holds only what is open for its events. Invariant: the
function gives what Falco's evaluation of the same rules in the same order gives; the source is readable and is kept.
"""

from __future__ import annotations

import linecache
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .inference import EVENT_TYPE_FIELDS, is_never
from .patterns import PathSet, glob_match, iglob_match, regex_matcher
from .syntax import And, Check, FieldExpr, Node, Not, Or

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .bundle import Rule
    from .expressions import Writer

Folded = Node | bool
Matcher = Callable[[Any], Any]

_DEEPEST = 30  # levels in one expression; Python's compiler takes some 90 of them
_PART = re.compile(r"\bpart\d+\b")


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
    if is_type_check(node):
        return _event_type(node, event)
    return False if is_never(node) else node


def is_type_check(check: Check) -> bool:
    """Is it decided by the event type?"""
    left = check.left
    return isinstance(left, FieldExpr) and left.name in EVENT_TYPE_FIELDS and isinstance(check.right, tuple | None)


# Told by the kernel's scheduler, not by a system call: syscall.type is missing there (fields.evt.NOT_SYSCALLS).
NOT_SYSCALLS = frozenset(("procexit",))


def _event_type(check: Check, event: str) -> bool:
    if event in NOT_SYSCALLS and isinstance(check.left, FieldExpr) and check.left.name == "syscall.type":
        return False
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
        self._checks: dict[Check, str] = {}
        self._parts: dict[str, str] = {}  # name -> expression, of what was too deep to stand in one expression
        self._conditions: dict[tuple[int, tuple[bool, ...]], str | bool] = {}
        self._functions: dict[str, Matcher] = {}

    def expression(self, check: Check) -> str:
        """The source of one comparison. Raises expressions.CheckError."""
        found = self._checks.get(check)
        if found is None:
            found = self._checks[check] = self.writer.check(check)
        return found

    def condition(self, node: Node) -> str:
        """The source of a tree, as an expression that is true when it holds."""
        return self._written(node)[0]

    def _written(self, node: Node) -> tuple[str, int]:
        """(source, how deep it is nested)."""
        if isinstance(node, Check):
            return self.expression(node), 1
        if isinstance(node, Not):
            inner, depth = self._inner(node.term)
            return (f"not {inner}" if depth == 1 and inner[:1] == "(" else f"not ({inner})"), depth + 1
        assert isinstance(node, And | Or)
        written: list[str] = []
        deepest = 0
        for term in node.terms:
            inner, depth = self._inner(term)
            written.append(f"({inner})" if isinstance(term, Or) and isinstance(node, And) else inner)
            deepest = max(deepest, depth)
        return (" and " if isinstance(node, And) else " or ").join(written), deepest + 1

    def _inner(self, node: Node) -> tuple[str, int]:
        """As `_written`; what is too deep for Python's compiler becomes a function of its own."""
        inner, depth = self._written(node)
        if depth < _DEEPEST:
            return inner, depth
        name = f"part{len(self._parts)}"
        self._parts[name] = inner
        return f"{name}(e)", 2

    def matcher(self, event: str, rules: Sequence[Rule], every: bool) -> tuple[str, Matcher] | None:
        """(source, function) for one event type; None when no rule can match there.

        The function gives the first rule that matches or None, or with `every` a tuple of all that match. Event
        types with the same source share one function.
        """
        lines = ["def match(e):"]
        names: dict[str, Any] = {}
        if every:
            lines.append("    found = []")
        for rule in rules:
            condition = self._condition_for(rule, event)
            if condition is False:
                continue
            name = f"RULE{rule.index}"
            names[name] = rule
            lines.append(f"    # {_comment(f'{rule.name}: {rule.place}')}")
            done = f"found.append({name})" if every else f"return {name}"
            if condition is True:
                lines.append(f"    {done}")
                if not every:
                    break
                continue
            lines.append(f"    if {condition}:")
            lines.append(f"        {done}")
        if not names:
            return None
        lines.append("    return tuple(found)" if every else "    return None")
        source = self._with_parts("\n".join(lines) + "\n")
        function = self._functions.get(source)
        if function is None:
            function = self._functions[source] = self._function(source, f"<rules:{event}>", names)
        return source, function

    def _condition_for(self, rule: Rule, event: str) -> str | bool:
        """The condition of a rule for an event type; written once for all types that decide its leaves alike."""
        key = rule.index, tuple(_event_type(check, event) for check in rule.type_checks)
        found = self._conditions.get(key)
        if found is None:
            folded = fold(rule.tree, event)
            found = self._conditions[key] = folded if isinstance(folded, bool) else self.condition(folded)
        return found

    def _with_parts(self, source: str) -> str:
        """`source` with the functions it calls in front of it."""
        if not self._parts:
            return source
        needed: dict[str, str] = {}
        rest = [source]
        while rest:
            for name in _PART.findall(rest.pop()):
                if name in self._parts and name not in needed:
                    needed[name] = self._parts[name]
                    rest.append(needed[name])
        return "".join(f"def {name}(e):\n    return {inner}\n\n" for name, inner in needed.items()) + source

    def _function(self, source: str, filename: str, names: dict[str, Any]) -> Matcher:
        code = compile(source, filename, "exec")
        linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
        scope: dict[str, Any] = {**self.writer.names, **names}
        exec(code, scope)
        matcher: Matcher = scope["match"]
        return matcher


def _comment(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text)
