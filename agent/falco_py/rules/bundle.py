# SPDX-License-Identifier: Apache-2.0
"""Rules files become one immutable bundle: rules with their trees, and a compiled matcher for each event type.

Pure: texts in, bundle out. Invariant: either everything is good and a bundle is returned, or every problem of every
file is raised in one `RulesError`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .collector import Collector, Definitions, MacroDef, RuleDef
from .compiler import Compiler
from .exceptions import with_exceptions
from .expressions import CheckError, Writer
from .formats import Formats, OutputFormat
from .grammar import ConditionError, parse
from .inference import EVENT_TYPE_FIELDS, event_types, names_of
from .items import read_items
from .lists import ResolvedList, TooLargeError, resolve_lists, write_lists
from .places import Source, Text
from .priority import Priority
from .problems import Problem, Problems, RulesError, nearest
from .resolve import Macro, MacroError, expand
from .syntax import And, Check, FieldExpr, Literal, Node, Not, Or

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

SOURCES = ("syscall",)
MANY_EVENT_TYPES = 100  # a rule on more of them is warned about, as in Falco
INFO = "%container.info"


@dataclass(slots=True, eq=False)
class Rule:
    """A rule that runs. `index` is its place in the order of evaluation, `tree` its condition with macros opened."""

    name: str
    desc: str
    priority: Priority
    tags: tuple[str, ...]
    source: str
    enabled: bool
    condition: str
    output: str
    tree: Node
    event_types: frozenset[str]
    format: OutputFormat
    index: int
    place: str


@dataclass(frozen=True, slots=True)
class Bundle:
    """`matchers`: for each event type that some rule runs on, the function that tests them (see compiler)."""

    rules: tuple[Rule, ...]
    warnings: tuple[Problem, ...]
    files: tuple[str, ...]
    event_types: frozenset[str]
    matchers: Mapping[str, Callable[[Any], Any]]
    source: Mapping[str, str]
    uses: frozenset[str] = field(default_factory=frozenset)


class _Default:
    """The field catalogue and the event table of the agent."""

    def __init__(self) -> None:
        from ..events.syscalls import NEVER, ROWS
        from ..fields import catalogue

        self.lookup = catalogue.lookup
        self.refused = catalogue.refused
        self.CATALOGUE = catalogue.CATALOGUE
        self.ENV = catalogue.ENV
        self.universe = frozenset(ROWS)
        self.known_events = self.universe | frozenset(NEVER)


def load(
    files: Sequence[tuple[str, str]],
    *,
    min_priority: Priority = Priority.DEBUG,
    rule_matching: str = "first",
    catalogue: Any = None,
) -> Bundle:
    """`files`: (name, text) in order. Raises RulesError."""
    return _Loader(catalogue or _Default()).load(files, min_priority, rule_matching)


class _Loader:
    def __init__(self, catalogue: Any) -> None:
        self.catalogue = catalogue
        self.problems = Problems()
        self.writer = Writer(catalogue)
        self.compiler = Compiler(self.writer)
        self.formats = Formats(self.writer)
        self.macros: dict[str, Macro] = {}
        self.lists: list[ResolvedList] = []

    def load(self, files: Sequence[tuple[str, str]], min_priority: Priority, rule_matching: str) -> Bundle:
        collector = Collector(self.problems)
        for name, text in files:
            collector.add(read_items(Source(name, text), self.problems))
        collector.check_plugins()
        definitions = collector.definitions
        try:
            self.lists = resolve_lists(definitions.lists.values())
        except TooLargeError as error:
            one = definitions.lists[error.args[0]]
            self.problems.add("error", "LOAD_ERR_VALIDATE", one.where, f"list '{one.name}' grows without bound",
                              "lists name each other too often")  # fmt: skip
            raise RulesError(self.problems.found) from None
        for macro in definitions.macros.values():
            self._macro(macro)
        rules = [
            rule for one in sorted(definitions.rules.values(), key=lambda r: r.position) if (rule := self._rule(one))
        ]
        self._check_macros(definitions)
        self._unused(definitions)
        if self.problems.errors:
            raise RulesError(self.problems.found)
        active = [rule for rule in rules if rule.enabled and rule.priority <= min_priority]
        for index, rule in enumerate(active):
            rule.index = index
        return self._bundle(active, tuple(name for name, _ in files), rule_matching == "all")

    # Macros and rules

    def _text(self, text: Text, item: tuple[str, str], where: Any) -> Text | None:
        try:
            return write_lists(text, self.lists)
        except TooLargeError as error:
            self.problems.add(
                "error", "LOAD_ERR_VALIDATE", where, f"list '{error.args[0]}' makes the condition too long", "", item
            )
            return None

    def _parse(self, text: Text, item: tuple[str, str]) -> Node | None:
        try:
            return parse(text.value)
        except ConditionError as error:
            self._complain(text, error.at, error.message, error.hint, item)
            return None

    def _complain(self, text: Text, at: int, message: str, hint: str, item: tuple[str, str],
                  code: str = "LOAD_ERR_COMPILE_CONDITION") -> None:  # fmt: skip
        self.problems.add("error", code, text.where(min(at, max(0, len(text.value) - 1))), message, hint, item)

    def _macro(self, macro: MacroDef) -> None:
        item = ("macro", macro.name)
        text = self._text(macro.condition, item, macro.where)
        tree = self._parse(text, item) if text is not None else None

        def use() -> None:
            macro.used = True

        self.macros[macro.name] = Macro(macro.name, tree, macro.position, macro.visible_from, use)
        if tree is not None and text is not None:
            self._check_leaves(tree, text, item)

    def _check_macros(self, definitions: Definitions) -> None:
        """A macro that no rule uses must still be right."""
        for macro in definitions.macros.values():
            entry = self.macros[macro.name]
            if macro.used or entry.tree is None:
                continue
            try:
                expand(entry.tree, self.macros, macro.visible_from)
            except MacroError as error:
                if not error.quiet:
                    self._complain(macro.condition, error.at, error.message, error.hint, ("macro", macro.name),
                                   "LOAD_ERR_VALIDATE")  # fmt: skip
            macro.used = False

    def _check_leaves(self, tree: Node, text: Text, item: tuple[str, str]) -> bool:
        """Every comparison of a tree as written, so that an error points at the text it stands in."""
        good = True
        for check in _checks(tree):
            try:
                self.compiler.expression(check)
                self._event_names(check)
            except CheckError as wrong:
                found = wrong.finding
                self._complain(text, found.at or check.at, found.message, found.hint, item)
                good = False
        return good

    def _event_names(self, check: Check) -> None:
        if not isinstance(check.left, FieldExpr) or check.left.name not in EVENT_TYPE_FIELDS:
            return
        if check.right is not None and not isinstance(check.right, tuple):
            raise CheckError(check.at, f"{check.left.name} cannot be compared with a field")
        for literal in check.right or ():
            if isinstance(literal, Literal) and literal.text not in self.catalogue.known_events:
                raise CheckError(literal.at, f"unknown event type {literal.text}",
                            nearest(literal.text, self.catalogue.known_events)
                            or "falco-py --list-events shows the event types", unknown=True)  # fmt: skip
        _ = names_of

    def _rule(self, definition: RuleDef) -> Rule | None:
        item = ("rule", definition.name)
        if definition.source not in SOURCES:
            self.problems.add("warning", "LOAD_UNKNOWN_SOURCE", definition.where,
                              f"Unknown source {definition.source}, skipping", "", item)  # fmt: skip
            return None
        seen = len(self.problems.found)
        written = with_exceptions(definition.condition, definition.exceptions)
        text = self._text(written, item, definition.where)
        tree = self._parse(text, item) if text is not None else None
        if text is None or tree is None:
            return None
        good = self._check_leaves(tree, text, item)
        opened: Node | None = None
        try:
            opened = expand(tree, self.macros)
        except MacroError as error:
            if not error.quiet or not self.problems.errors:
                self._complain(text, error.at, error.message, error.hint, item, "LOAD_ERR_VALIDATE")
        made = self._output(definition, item)
        if definition.skip_unknown and not (good and made) and self._only_unknown(seen):
            return self._skipped(definition, seen)
        if opened is None or made is None or not good:
            return None
        types = event_types(opened, self.catalogue.universe)
        if len(types) > MANY_EVENT_TYPES and definition.warn_evttypes:
            self.problems.add("warning", "LOAD_NO_EVTTYPE", definition.where,
                              "Rule matches too many evt.type values. This has a significant performance penalty.",
                              "add a condition on evt.type", item)  # fmt: skip
        source, place = definition.where
        del source
        return Rule(
            name=definition.name,
            desc=definition.desc,
            priority=definition.priority,
            tags=tuple(sorted(definition.tags)),
            source=definition.source,
            enabled=definition.enabled,
            condition=definition.condition.value,
            output=definition.output.value,
            tree=opened,
            event_types=types,
            format=made,
            index=-1,
            place=f"{place.file}:{place.line}",
        )

    def _only_unknown(self, seen: int) -> bool:
        new = self.problems.found[seen:]
        return bool(new) and all("no such field" in p.message or "cannot be used" in p.message or
                                 "unknown event type" in p.message or "unknown filter" in p.message
                                 for p in new if p.severity == "error")  # fmt: skip

    def _skipped(self, definition: RuleDef, seen: int) -> None:
        first = self.problems.found[seen]
        del self.problems.found[seen:]
        self.problems.add(
            "warning",
            "LOAD_UNKNOWN_FILTER",
            definition.where,
            first.message,
            "the rule says skip-if-unknown-filter and is left out",
            ("rule", definition.name),
        )

    def _output(self, definition: RuleDef, item: tuple[str, str]) -> OutputFormat | None:
        text = definition.output
        value = text.value
        if INFO in value:
            self.problems.add("warning", "LOAD_DEPRECATED_ITEM", definition.where, f"{INFO} is no longer a field",
                              "take it out of the output", item)  # fmt: skip
            value = value.replace(INFO, "").strip()
        try:
            return self.formats.compile(value)
        except CheckError as wrong:
            found = wrong.finding
            self._complain(text, found.at, found.message, found.hint, item, "LOAD_ERR_COMPILE_OUTPUT")
            return None

    def _unused(self, definitions: Definitions) -> None:
        for macro in definitions.macros.values():
            if not macro.used:
                self.problems.add(
                    "warning",
                    "LOAD_UNUSED_MACRO",
                    macro.where,
                    "Macro not referred to by any other rule/macro",
                    "",
                    ("macro", macro.name),
                )
        for one in definitions.lists.values():
            if not one.used:
                self.problems.add("warning", "LOAD_UNUSED_LIST", one.where,
                                  "List not referred to by any other rule/macro", "", ("list", one.name))  # fmt: skip

    # The bundle

    def _bundle(self, rules: list[Rule], files: tuple[str, ...], every: bool) -> Bundle:
        by_type: dict[str, list[Rule]] = {}
        for rule in rules:
            for event in rule.event_types:
                by_type.setdefault(event, []).append(rule)
        matchers: dict[str, Callable[[Any], Any]] = {}
        source: dict[str, str] = {}
        same: dict[str, Callable[[Any], Any]] = {}
        for event in sorted(by_type):
            made = self.compiler.matcher(event, by_type[event], every)
            if made is None:
                continue
            source[event] = made[0]
            matchers[event] = same.setdefault(made[0], made[1])
        uses = frozenset(self.writer.fields).union(*(rule.format.uses for rule in rules))
        return Bundle(
            rules=tuple(rules),
            warnings=self.problems.warnings,
            files=files,
            event_types=frozenset(matchers),
            matchers=matchers,
            source=source,
            uses=uses,
        )


def _checks(node: Node) -> Iterator[Check]:
    if isinstance(node, Check):
        yield node
    elif isinstance(node, Not):
        yield from _checks(node.term)
    elif isinstance(node, And | Or):
        for term in node.terms:
            yield from _checks(term)
