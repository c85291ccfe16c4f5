# SPDX-License-Identifier: Apache-2.0
"""Conditions become Python source, one function for each event type that tests all its rules, and code objects.

What the event type decides is folded away, so a function holds only what is open for its events. Invariant: the
function gives what Falco's evaluation of the same rules in the same order gives; the source is readable and is kept.
"""

from __future__ import annotations

import linecache
import re
from collections.abc import Callable
from functools import lru_cache
from types import CodeType
from typing import TYPE_CHECKING, Any

from .emit import UNSET, Emitter
from .inference import EVENT_TYPE_FIELDS, is_never
from .kept import Memo
from .patterns import PathSet, glob_match, iglob_match, regex_matcher
from .syntax import Check, FieldExpr
from .terms import Folded, Terms

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .bundle import Rule
    from .expressions import Writer
    from .kept import Kept

Matcher = Callable[[Any], Any]
_CODES = 1024  # functions whose code is kept
_COMMENTS = re.compile("^    # .*$", re.MULTILINE)  # no other line of a source begins so


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

    def __init__(self, writer: Writer, kept: Kept | None = None) -> None:
        self.writer = writer
        self.terms = Terms(writer) if kept is None else kept.terms
        self._conditions: Memo[Folded] = Memo() if kept is None else kept.conditions
        self._sources: Memo[str] = Memo() if kept is None else kept.sources
        self._made: dict[tuple[Any, ...], tuple[str, Matcher]] = {}
        self._functions: dict[str, Matcher] = {}

    def expression(self, check: Check) -> str:
        """The source of one comparison. Raises expressions.CheckError."""
        return self.writer.check(check)

    def matcher(self, event: str, rules: Sequence[Rule], every: bool) -> tuple[str, Matcher] | None:
        """(source, function) for one event type; None when no rule can match there.

        The function gives the first rule that matches or None, or with `every` a tuple of all that match. Event
        types that decide the rules alike share one function.
        """
        decisions = tuple(tuple(_event_type(check, event) for check in rule.type_checks) for rule in rules)
        key = every, tuple(rule.index for rule in rules), decisions
        found = self._made.get(key)
        if found is not None:
            return found
        chosen: list[tuple[str, str, Folded]] = []
        names: dict[str, Any] = {}
        for rule, decided in zip(rules, decisions, strict=True):
            condition = self._condition(rule, event, decided)
            if condition is not False:
                names[f"RULE{rule.index}"] = rule
                chosen.append((f"RULE{rule.index}", _comment(f"{rule.name}: {rule.place}"), condition))
        if not names:
            return None
        source = self._sources.get(
            tuple(condition for _, _, condition in chosen),
            (every, tuple((name, comment) for name, comment, _ in chosen)),
            lambda: Emitter(chosen, every).source(),
        )
        function = self._functions.get(source)
        if function is None:
            function = self._functions[source] = self._function(source, f"<rules:{event}>", names)
        self._made[key] = source, function
        return source, function

    def _condition(self, rule: Rule, event: str, decided: tuple[bool, ...]) -> Folded:
        """The condition of a rule for an event type; made once for all types that decide its comparisons alike."""
        return self._conditions.get(
            (rule.tree,), decided, lambda: self.terms.of(rule.tree, lambda check: known_of(check, event))
        )

    def _function(self, source: str, filename: str, names: dict[str, Any]) -> Matcher:
        code = _code(_COMMENTS.sub("    #", source), filename)
        linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
        scope: dict[str, Any] = {**names, "UNSET": UNSET}
        known = self.writer.names
        scope.update((name, known[name]) for name in _names(code) if name in known)
        exec(code, scope)
        matcher: Matcher = scope["match"]
        return matcher


@lru_cache(_CODES)
def _code(source: str, filename: str) -> CodeType:
    """Kept over loads: a reload that changes one rule compiles the functions of its event types only.

    `source` is without the comments, which tell lines of the rules files.
    """
    return compile(source, filename, "exec")


def _names(code: CodeType) -> Iterator[str]:
    """The names that a module and its functions use: a matcher keeps the constants of its rules alive, no others."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


def known_of(check: Check, event: str) -> bool | None:
    """What the event type decides of a comparison."""
    if is_type_check(check):
        return _event_type(check, event)
    return False if is_never(check) else None


def _comment(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text)
