# SPDX-License-Identifier: Apache-2.0
"""Rules files become one immutable bundle: rules with their trees, and a compiled matcher for each event type.

Pure: texts in, bundle out. Invariant: either everything is good and a bundle is returned, or every problem of every
file is raised in one `RulesError`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from .checks import Checker, checks, deprecated, fields
from .collector import Collector, Definitions, MacroDef, RuleDef
from .compiler import Compiler, is_type_check
from .exceptions import field_findings, with_exceptions
from .expressions import CheckError
from .extras import extra_fields, fitting, suffix, suggested_fields
from .formats import Formats, OutputFormat
from .grammar import MAX_DEPTH, ConditionError, deep_recursion, parse
from .inference import event_types
from .kept import kept_for
from .lists import ResolvedList, TooLargeError, resolve_lists, write_lists
from .places import Source, Text, Where
from .priority import Priority
from .problems import Finding, Problem, Problems, RulesError
from .reader import read_items
from .resolve import Macro, MacroError, Macros, references
from .reviews import Review
from .selection import select
from .shadows import shadowed
from .sources import KNOWN, OTHER_EVENTS, RUN, foreign_fields, foreign_reads
from .syntax import Check, Node, spelled

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ..config.model import AppendOutput, Selection
    from .items import Items

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
    place: str
    index: int = -1
    capture: bool = False  # whether it is to start a capture
    type_checks: tuple[Check, ...] = ()  # the comparisons that the event type decides


@dataclass(frozen=True, slots=True)
class Bundle:
    """`matchers`: for each event type that some rule runs on, the function that tests them (see compiler).

    `source`: the Python of the matchers. `uses`: the fields that conditions and outputs of the rules read. `narrowed`
    gives the function for an event type that tests only the rules of these names, None when none of them can match.
    """

    rules: tuple[Rule, ...]
    warnings: tuple[Problem, ...]
    files: tuple[str, ...]
    event_types: frozenset[str]
    matchers: Mapping[str, Callable[[Any], Any]]
    source: Mapping[str, str]
    uses: frozenset[str] = field(default_factory=frozenset)
    narrowed: Callable[[str, frozenset[str]], Callable[[Any], Any] | None] = lambda _event, _names: None


class Default:
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
        self.static_fields = catalogue.static_fields
        # All else is the same in every load of a process.
        self.key: object = tuple((field.name, field.code(None)) for field in catalogue.static_fields())


def load(
    files: Sequence[tuple[str, str]],
    *,
    min_priority: Priority = Priority.DEBUG,
    rule_matching: str = "first",
    extra_output: Sequence[AppendOutput] = (),
    selections: Sequence[Selection] = (),
    base64: bool = False,
    catalogue: Any = None,
) -> Bundle:
    """`files`: (name, text) in order. `extra_output`: what is added to the outputs of the rules that it fits;
    `selections`: which rules are enabled or disabled once all are known, in order. `base64`: outputs give bytes so.
    Raises RulesError.
    """
    with deep_recursion(MAX_DEPTH):
        loader = Loader(catalogue or Default(), extra_output, selections, base64=base64)
        return loader.load(files, min_priority, rule_matching)


Item = tuple[str, str]  # ("rule" | "macro" | "list", its name)


@dataclass(frozen=True, slots=True)
class _Condition:
    """A condition whose lists were written out, its tree as written and what was found in it."""

    item: Item
    text: Text
    tree: Node
    findings: list[Finding] = field(default_factory=list)


class Loader:
    """One load. What it learned stays readable for descriptions of the rules (see describe)."""

    def __init__(
        self,
        catalogue: Any,
        extra_output: Sequence[AppendOutput] = (),
        selections: Sequence[Selection] = (),
        *,
        base64: bool = False,
    ) -> None:
        self.catalogue = catalogue
        self.extra_output = extra_output
        self.selections = selections
        self.problems = Problems()
        self.kept = kept_for(catalogue)
        self.writer = self.kept.writer
        self.compiler = Compiler(self.writer, self.kept)
        self.formats = Formats(self.writer, base64=base64)
        self.macros = Macros(self._macro_error, self.kept.nodes)
        self.definitions = Definitions()
        self.lists: list[ResolvedList] = []
        self.macro_conditions: dict[str, _Condition] = {}
        self.macro_trees: dict[str, Node] = {}
        self.rule_conditions: dict[str, _Condition] = {}
        self.rules: list[Rule] = []  # all that compiled, whether they are to run or not
        self.checked: set[str] = set()  # macros whose findings are known
        self.used: set[str] = set()  # macros that a rule or macro refers to
        self.foreign: set[str] = set()  # macros that rules of unknown sources use, directly or not

    def load(self, files: Sequence[tuple[str, str]], min_priority: Priority, rule_matching: str) -> Bundle:
        collector = Collector(self.problems)
        for name, text in files:
            collector.add(self._items(name, text))
        collector.check_plugins()
        definitions = self.definitions = collector.definitions
        try:
            self.lists = resolve_lists(definitions.lists.values())
        except TooLargeError as error:
            one = definitions.lists[error.args[0]]
            self._error(one.where, f"list '{one.name}' grows without bound", "lists name each other too often",
                        ("list", one.name))  # fmt: skip
            raise RulesError(self.problems.found) from None
        self.checker = Checker(self.catalogue, self.compiler, definitions.lists)
        self.review = Review(self.catalogue, self.macro_trees, self.kept.shapes)
        for macro in definitions.macros.values():
            self._macro(macro)
        self.macros.open_all()
        ordered = sorted(definitions.rules.values(), key=lambda r: r.position)
        rules = self.rules = [rule for one in ordered if (rule := self._rule(one))]
        self._check_idle_macros()
        self._unused()
        self.problems.in_order([name for name, _ in files])
        if self.problems.errors:
            raise RulesError(self.problems.found)
        select(rules, self.selections)
        active = [rule for rule in rules if rule.enabled and rule.priority <= min_priority and rule.source in RUN]
        for index, rule in enumerate(active):
            rule.index = index
        if rule_matching != "all":
            self._shadowed(active)
            self.problems.in_order([name for name, _ in files])
        made = self._bundle(active, tuple(name for name, _ in files), rule_matching == "all")
        self.kept.end()
        return made

    # Problems

    def _error(self, where: Where, message: str, hint: str, item: Item, code: str = "LOAD_ERR_VALIDATE") -> None:
        self.problems.add("error", code, where, message, hint, item)

    def _warning(self, code: str, where: Where, message: str, hint: str, item: Item) -> None:
        self.problems.add("warning", code, where, message, hint, item)

    def _report(self, text: Text, found: Finding, item: Item) -> None:
        where = text.where(min(found.at, max(0, len(text.value) - 1)))
        self.problems.add("error" if found.is_error else "warning", found.code, where, found.message, found.hint, item)

    # What earlier loads may have made

    def _items(self, name: str, text: str) -> Items:
        def read() -> tuple[Items, list[Problem]]:
            problems = Problems()
            return read_items(Source(name, text), problems), problems.found

        items, problems = self.kept.files.get((), (name, text), read)
        self.problems.extend(problems)
        return items

    def _references(self, tree: Node) -> frozenset[str]:
        return self.kept.references.get((tree,), None, lambda: frozenset(ref.name for ref in references(tree)))

    def _findings(self, tree: Node, text: Text) -> Sequence[Finding]:
        """What a condition says of lists depends on which there are, and on which were written where it names them."""
        written = tuple((part.start, part.fixed) for part in text.parts)
        more = self.checker.lists, written
        return self.kept.findings.get((tree,), more, lambda: self.checker.findings(tree, text))

    def _foreign_fields(self, tree: Node, source: str) -> Sequence[Finding]:
        return self.kept.foreign.get((tree,), source, lambda: foreign_fields(tree, source, self.catalogue))

    def _event_types(self, tree: Node) -> frozenset[str]:
        return self.kept.event_types.get((tree,), None, lambda: event_types(tree, self.catalogue.universe))

    def _review(
        self, tree: Node, opened: Node, types: frozenset[str], macros: Sequence[str]
    ) -> Sequence[tuple[str, Finding]]:
        written = (self.macro_trees.get(name) for name in macros)
        return self.kept.reviews.get(
            (tree, opened, *written), (types, tuple(macros)),
            lambda: tuple(self.review.findings(tree, opened, types, frozenset(macros))),
        )  # fmt: skip

    def _format(self, text: str, more: tuple[tuple[str, str | None], ...] = ()) -> OutputFormat:
        return self.kept.outputs.get((), (text, more, self.formats.base64), lambda: self.formats.compile(text, more))

    # Conditions

    def _parsed(self, text: Text, item: Item, where: Where) -> _Condition | None:
        """The tree of a condition; None when there is a problem, which is told."""
        try:
            text = write_lists(text, self.lists)
            return _Condition(item, text, parse(text.value))
        except TooLargeError as error:
            self._error(where, f"list '{error.args[0]}' makes the condition too long", "", item)
        except ConditionError as error:
            self._report(text, Finding(error.at, error.message, error.hint), item)
            self.used |= set(re.findall(r"\w+", text.value))  # macros, as far as can be told
        return None

    def _macro(self, macro: MacroDef) -> None:
        condition = self._parsed(macro.condition, ("macro", macro.name), macro.where)
        tree = None if condition is None else condition.tree
        self.macros.add(Macro(macro.name, tree, macro.position, macro.visible_from))
        if condition is not None:
            self.macro_conditions[macro.name] = condition
            self.macro_trees[macro.name] = condition.tree
            self.used |= self._references(condition.tree)

    def _macro_error(self, name: str, error: MacroError) -> None:
        condition = self.macro_conditions[name]
        found = Finding(error.at, error.message, error.hint, code="LOAD_ERR_VALIDATE")
        self._report(condition.text, found, condition.item)

    def _macro_findings(self, name: str) -> list[Finding]:
        condition = self.macro_conditions.get(name)
        if condition is None:
            return []
        if name not in self.checked:
            self.checked.add(name)
            condition.findings.extend(self._findings(condition.tree, condition.text))
        return condition.findings

    def _check_idle_macros(self) -> None:
        """What no rule uses is looked at too, as far as its fields are known; its mistakes do no harm."""
        for name, condition in self.macro_conditions.items():
            if name in self.checked or name in self.foreign:
                continue
            for found in self._macro_findings(name):
                if found.is_error:
                    hint = "no rule that uses the macro will load"
                    found = replace(found, code="LOAD_COMPILE_CONDITION", hint=f"{found.hint}; {hint}".lstrip("; "))
                if not found.unknown:
                    self._report(condition.text, found, condition.item)

    # Rules

    def _rule(self, definition: RuleDef) -> Rule | None:
        item = ("rule", definition.name)
        if definition.source not in KNOWN:
            self._unknown_source(definition, item)
            self._foreign(definition)
            return None
        written = with_exceptions(definition.condition, definition.exceptions)
        condition = self._parsed(written, item, definition.where)
        if condition is None:
            return None
        self.rule_conditions[definition.name] = condition
        self.used |= self._references(condition.tree)
        findings = [
            *self._findings(condition.tree, condition.text),
            *self._foreign_fields(condition.tree, definition.source),
        ]
        condition.findings.extend(field_findings(findings, condition.text, definition.exceptions))
        self._idle_exceptions(definition, item)
        opened: Node | None = None
        try:
            opened = self.macros.expand(condition.tree)
        except MacroError as error:
            if not error.quiet:
                condition.findings.append(Finding(error.at, error.message, error.hint, code="LOAD_ERR_VALIDATE"))
        output, made, output_findings = self._output(definition, item)
        macros = sorted(self.macros.uses(condition.tree))
        in_macros = {
            name: [
                *self._macro_findings(name),
                *self._foreign_fields(self.macro_conditions[name].tree, definition.source),
            ]
            for name in macros
            if name in self.macro_conditions
        }
        everything = [*condition.findings, *output_findings, *(f for found in in_macros.values() for f in found)]
        errors = [found for found in everything if found.is_error]
        if definition.skip_unknown and errors and all(found.unknown for found in errors):
            self._warning("LOAD_UNKNOWN_FILTER", definition.where, errors[0].message,
                          "the rule says skip-if-unknown-filter and is left out", item)  # fmt: skip
            return None
        for found in condition.findings:
            self._report(condition.text, found, item)
        for found in output_findings:
            self._report(output, found, item)
        for name, findings in in_macros.items():
            for found in findings:
                self._report(self.macro_conditions[name].text, found, ("macro", name))
        if errors or opened is None or made is None:
            return None
        rule = self._made(definition, item, opened, made)
        if definition.source not in RUN:
            self._unknown_source(definition, item)
        for macro, found in self._review(condition.tree, opened, rule.event_types, macros):
            home = self.macro_conditions[macro] if macro else condition
            self._report(home.text, found, home.item)
        return rule

    def _idle_exceptions(self, definition: RuleDef, item: Item) -> None:
        """The fields of exceptions without values, which stand in no condition."""
        for name in (name for one in definition.exceptions if not one.values for name in one.fields):
            written = Text.join((Text.of(name), Text.made(" exists", name)))
            condition = self._parsed(written, item, name.where)
            findings = self._findings(condition.tree, written) if condition is not None else ()
            for found in field_findings(findings, written, definition.exceptions):
                self._report(written, found, item)

    def _made(self, definition: RuleDef, item: Item, tree: Node, output: OutputFormat) -> Rule:
        run = definition.source in RUN
        types = self._event_types(tree) if run else OTHER_EVENTS
        if len(types) > MANY_EVENT_TYPES and definition.warn_evttypes:
            self._warning("LOAD_NO_EVTTYPE", definition.where, "Rule matches too many evt.type values. This has a "
                          "significant performance penalty.", "add a condition on evt.type", item)  # fmt: skip
        place = definition.where[1]
        return Rule(
            name=definition.name,
            desc=definition.desc,
            priority=definition.priority,
            tags=tuple(sorted(definition.tags)),
            source=definition.source,
            enabled=definition.enabled,
            condition=definition.condition.value,
            output=definition.output.value,
            tree=tree,
            event_types=types,
            format=output,
            place=f"{place.file}:{place.line}",
            capture=definition.capture,
            type_checks=tuple(check for check in checks(tree) if is_type_check(check)),
        )

    def _shadowed(self, rules: Sequence[Rule]) -> None:
        """The first rule that matches an event is the only one to fire."""
        for rule, by in shadowed(rules, self.kept.shapes):
            names = " or ".join(f"'{one.name}'" for one in by)
            where = self.definitions.rules[rule.name].where
            message = f"Rule never fires: whenever it matches, {names} before it does"
            hint = "move it up, make that rule match less, or set rule_matching: all"
            self._warning("LOAD_COMPILE_CONDITION", where, message, hint, ("rule", rule.name))

    def _unknown_source(self, definition: RuleDef, item: Item) -> None:
        message = f"Unknown source {definition.source}, skipping"
        self._warning("LOAD_UNKNOWN_SOURCE", definition.where, message, "", item)

    def _foreign(self, definition: RuleDef) -> None:
        """A rule that is never compiled still uses its macros and lists."""
        try:
            text = write_lists(with_exceptions(definition.condition, definition.exceptions), self.lists)
            tree = parse(text.value)
        except (TooLargeError, ConditionError):
            return
        self.used |= self._references(tree)
        self.foreign |= self.macros.uses(tree)

    def _output(self, definition: RuleDef, item: Item) -> tuple[Text, OutputFormat | None, list[Finding]]:
        """(text, its format or None, what was found in it)."""
        text = definition.output
        at = text.value.find(INFO)
        if at >= 0:
            self._warning("LOAD_DEPRECATED_ITEM", text.where(at), f"{INFO} is no longer a field",
                          "take it out of the output", item)  # fmt: skip
            text = _without(text, INFO)
        try:
            made = self._format(text.value)
        except CheckError as wrong:
            found = wrong.finding
            return text, None, [Finding(found.at, found.message, found.hint, found.unknown, "LOAD_ERR_COMPILE_OUTPUT")]
        findings = [old for one, at in made.reads if (old := deprecated(one, at)) is not None]
        findings += foreign_reads(made.reads, definition.source)
        return (text, *self._extended(text.value, made, definition, findings))

    def _extended(
        self, text: str, made: OutputFormat, definition: RuleDef, findings: list[Finding]
    ) -> tuple[OutputFormat | None, list[Finding]]:
        """The format of an output with what the configuration adds to it; mistakes there count for the rule."""
        entries = fitting(self.extra_output, definition)
        if not entries:
            return made, findings
        suggested = suggested_fields(self.catalogue, definition.source)
        more = suffix(entries, suggested, {one.name for one, _ in made.reads})
        try:
            return self._format(text + more, tuple(extra_fields(entries))), findings
        except CheckError as wrong:
            found = wrong.finding
            hint = f"{found.hint}; this comes from append_output or -p, not from the rule".removeprefix("; ")
            return None, [*findings, Finding(0, found.message, hint, found.unknown, "LOAD_ERR_COMPILE_OUTPUT")]

    def _unused(self) -> None:
        for macro in self.definitions.macros.values():
            if macro.name not in self.used:
                self._warning("LOAD_UNUSED_MACRO", macro.where, "Macro not referred to by any other rule/macro", "",
                              ("macro", macro.name))  # fmt: skip
        for one in self.definitions.lists.values():
            if not one.used:
                self._warning("LOAD_UNUSED_LIST", one.where, "List not referred to by any other rule/macro", "",
                              ("list", one.name))  # fmt: skip

    # The bundle

    def _bundle(self, rules: list[Rule], files: tuple[str, ...], every: bool) -> Bundle:
        by_type: dict[str, list[Rule]] = {}
        for rule in rules:
            for event in rule.event_types:
                by_type.setdefault(event, []).append(rule)
        matchers: dict[str, Callable[[Any], Any]] = {}
        source: dict[str, str] = {}
        for event in sorted(by_type):
            made = self.compiler.matcher(event, by_type[event], every)
            if made is not None:
                source[event], matchers[event] = made
        compiler = self.compiler

        def narrowed(event: str, names: frozenset[str]) -> Callable[[Any], Any] | None:
            made = compiler.matcher(event, [rule for rule in by_type.get(event, ()) if rule.name in names], every)
            return None if made is None else made[1]

        return Bundle(
            rules=tuple(rules),
            warnings=self.problems.warnings,
            files=files,
            event_types=frozenset(matchers),
            matchers=matchers,
            source=source,
            uses=frozenset(name for rule in rules for name in self._uses(rule)),
            narrowed=narrowed,
        )

    def _uses(self, rule: Rule) -> set[str]:
        found = {one.name for one, _ in rule.format.reads}
        found |= {self.catalogue.lookup(spelled(expr))[0].name for check in checks(rule.tree) for expr in fields(check)}
        return found


def _without(text: Text, word: str) -> Text:
    """`text` with every `word` taken out, and no blanks at the ends."""
    parts: list[Text] = []
    start = 0
    while (at := text.value.find(word, start)) >= 0:
        parts.append(text.slice(start, at - start))
        start = at + len(word)
    parts.append(text.slice(start, len(text.value) - start))
    return Text.join(parts).strip()
