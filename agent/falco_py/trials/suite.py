# SPDX-License-Identifier: Apache-2.0
"""A file of rule tests becomes results: for each written event, the rules that must fire and those that do.

The rules are matched by the compiled functions that the agent runs. Invariant: a mistake in the file is a `FileError`
with its place, and a test that says nothing of alerts is one; a test cannot pass by not being run.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..config.model import Selection
from ..rules.problems import nearest
from ..visible import visible
from .documents import FileError, Value, beginning, documents
from .events import Written, event_of, read_events
from .wording import because

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from ..rules.places import Where
    from .given import Given, GivenCatalogue
    from .load import Trials

_KEYS = ("rules_files", "rule_matching", "rules", "defaults", "tests")
_TEST_KEYS = ("name", "event", "events", "events_file", "expect", "expect_not")
_EVENTS = ("event", "events", "events_file")
_EXPECT_KEYS = ("rule", "output", "priority")
_NOTHING = ("none", "nothing")
_MAX_WHY = 8


@dataclass(frozen=True, slots=True)
class Expected:
    """An alert. `output`: text that it holds; `priority`: its name in any case; both "" for any."""

    rule: str
    where: Where
    output: str = ""
    priority: str = ""


@dataclass(frozen=True, slots=True)
class Test:
    """`expect`: the alerts of all its events together, each at least once, and no others; None: any.
    `expect_not`: rules that must not fire."""

    name: str
    where: Where
    events: tuple[Written, ...]
    expect: tuple[Expected, ...] | None
    expect_not: tuple[Expected, ...] = ()


@dataclass(frozen=True, slots=True)
class Suite:
    """A test file. `rules_files`: as written, relative to the file; `selections`: as `rules:` of falco.yaml."""

    file: str
    tests: tuple[Test, ...]
    rules_files: tuple[tuple[str, Where], ...] = ()
    rule_matching: str | None = None
    selections: tuple[Selection, ...] = ()


@dataclass(slots=True)
class Result:
    """Of one test; `why` holds a sentence for each thing that is wrong with it."""

    test: Test
    why: list[str] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        return not self.why

    def text(self) -> str:
        place = self.test.where[1]
        name = visible(self.test.name)
        if self.passed:
            return f"ok      {name}"
        lines = [f"FAILED  {name} ({visible(place.file)}:{place.line})"]
        return "\n".join([*lines, *(f"          {visible(one)}" for one in self.why)])

    def json(self) -> dict[str, Any]:
        place = self.test.where[1]
        return {"name": self.test.name, "file": place.file, "line": place.line, "passed": self.passed, "why": self.why}


class Reader:
    """Reads test files. `read_file(path, where)` gives the text of a file that one names, relative to it."""

    def __init__(self, catalogue: GivenCatalogue, read_file: Callable[[str, Where], tuple[str, str]]) -> None:
        self.catalogue = catalogue
        self.read_file = read_file

    def suite(self, file: str, text: str) -> Suite:
        """Raises FileError."""
        found = documents(file, text)
        if len(found) != 1 or not isinstance(found[0].plain, dict):
            where = found[-1].where if found else beginning(file, text)
            raise FileError(where, "a file of tests is one mapping with the key 'tests'")
        top = found[0]
        self._known(top, _KEYS)
        if "tests" not in top.plain:
            raise FileError(top.where, "there are no tests in this file", "add 'tests:' with a list of tests")
        defaults = event_of(top.plain["defaults"], self.catalogue).values if "defaults" in top.plain else {}
        tests = tuple(self._test(one, defaults, number) for number, one in enumerate(_list(top.plain["tests"]), 1))
        if not tests:
            raise FileError(top.plain["tests"].where, "there are no tests in this list")
        matching = top.plain.get("rule_matching")
        if matching is not None and matching.plain not in ("first", "all"):
            raise FileError(matching.where, "rule_matching is 'first' or 'all'")
        return Suite(
            file,
            tests,
            tuple((_word(one), one.where) for one in _list(top.plain.get("rules_files"))),
            None if matching is None else matching.plain,
            tuple(self._selection(one) for one in _list(top.plain.get("rules"))),
        )

    def _known(self, value: Value, keys: Iterable[str]) -> None:
        for key in value.plain:
            if key not in keys:
                where = value.keys[key] if value.keys else value.where
                known = ", ".join(keys)
                raise FileError(where, f"unknown key '{key}'", nearest(key, keys) or f"the keys here are {known}")

    def _selection(self, value: Value) -> Selection:
        """`enable: {rule: NAME}` or `disable: {tag: TAG}`."""
        if isinstance(value.plain, dict) and len(value.plain) == 1:
            ((action, what),) = value.plain.items()
            if action in ("enable", "disable") and isinstance(what.plain, dict) and len(what.plain) == 1:
                ((kind, name),) = what.plain.items()
                if kind in ("rule", "tag"):
                    return Selection(action == "enable", **{kind: _word(name)})
        raise FileError(value.where, "this selects no rules", "write it as 'enable: {rule: NAME}' or "
                          "'disable: {tag: TAG}'")  # fmt: skip

    def _test(self, value: Value, defaults: dict[str, Any], number: int) -> Test:
        if not isinstance(value.plain, dict):
            raise FileError(value.where, "a test is a mapping with 'event' and 'expect'")
        self._known(value, _TEST_KEYS)
        given = [key for key in _EVENTS if key in value.plain]
        if len(given) != 1:
            raise FileError(value.where, "a test has one of 'event', 'events' and 'events_file'")
        if "expect" not in value.plain and "expect_not" not in value.plain:
            raise FileError(value.where, "the test does not say what it expects",
                              "add 'expect: RULE', 'expect: none' or 'expect_not: RULE'")  # fmt: skip
        name = value.plain.get("name")
        return Test(
            _word(name) if name is not None else f"test {number}",
            value.where,
            tuple(self._events(given[0], value.plain[given[0]], defaults)),
            self._expected(value.plain["expect"]) if "expect" in value.plain else None,
            self._expected(value.plain["expect_not"]) if "expect_not" in value.plain else (),
        )

    def _events(self, key: str, value: Value, defaults: dict[str, Any]) -> list[Written]:
        if key == "events_file":
            file, text = self.read_file(_word(value), value.where)
            return [Written({**defaults, **one.values}, one.where, one.rule, one.ignored)
                    for one in read_events(file, text, self.catalogue)]  # fmt: skip
        made = [event_of(one, self.catalogue, defaults) for one in (_list(value) if key == "events" else [value])]
        if not made:
            raise FileError(value.where, "there is no event in this list")
        for one in made:
            if "evt.type" not in one.values and "syscall.type" not in one.values:
                raise FileError(one.where, "the event has no evt.type", "add 'evt.type: openat', or what it is")
        return made

    def _expected(self, value: Value) -> tuple[Expected, ...]:
        if value.plain is None or (isinstance(value.plain, str) and value.plain in _NOTHING):
            return ()
        found = value.plain if isinstance(value.plain, list) else [value]
        return tuple(self._one_expected(one) for one in found)

    def _one_expected(self, value: Value) -> Expected:
        if not isinstance(value.plain, dict):
            return Expected(_word(value), value.where)
        self._known(value, _EXPECT_KEYS)
        if "rule" not in value.plain:
            raise FileError(value.where, "an expected alert names its rule", "add 'rule: NAME'")
        texts = {key: _word(value.plain[key]) for key in _EXPECT_KEYS if key in value.plain}
        return Expected(where=value.where, **texts)


def _list(value: Value | None) -> list[Value]:
    if value is None or value.plain is None:
        return []
    if isinstance(value.plain, list):
        return value.plain
    if isinstance(value.plain, dict):
        raise FileError(value.where, "a list is expected here", "begin each item with '- '")
    return [value]


def _word(value: Value) -> str:
    if isinstance(value.plain, str | int | float) and value.plain != "":
        return str(value.plain)
    raise FileError(value.where, "a text is expected here")


def check_names(suite: Suite, trials: Trials) -> None:
    """Rules that a test names are there and enabled. Raises FileError."""
    for test in suite.tests:
        for one in (*(test.expect or ()), *test.expect_not):
            rule = trials.rules.get(one.rule)
            if rule is None:
                raise FileError(one.where, f"there is no rule '{one.rule}' in the rules",
                                  nearest(one.rule, trials.rules))  # fmt: skip
            if rule not in trials.bundle.rules and one in (test.expect or ()):
                raise FileError(one.where, f"rule '{one.rule}' is disabled, so it never fires",
                                  "add to this file: rules: [enable: {rule: " + one.rule + "}]")  # fmt: skip


def run(test: Test, trials: Trials, seen: Callable[[Given], None] = lambda _: None) -> Result:
    """`seen` is told each event."""
    result = Result(test)
    events = [(written, written.given(assume=True)) for written in test.events]
    alerts = []
    for written, event in events:
        seen(event)
        alerts += [(rule, event, written) for rule in trials.fired(event)]
    if test.expect is not None:
        result.why += _missing(test.expect, alerts, events, trials)
        expected = {one.rule for one in test.expect}
        result.why += _unexpected((one for one in alerts if one[0].name not in expected), trials)
    forbidden = {one.rule for one in test.expect_not}
    result.why += _unexpected((one for one in alerts if one[0].name in forbidden), trials)
    del result.why[_MAX_WHY:]
    return result


def _missing(expected: tuple[Expected, ...], alerts: list[Any], events: list[Any], trials: Trials) -> Iterator[str]:
    for one in expected:
        mine = [(rule, event) for rule, event, _ in alerts if rule.name == one.rule]
        if not mine:
            yield from _silent(one.rule, events, trials)
            continue
        rule = mine[0][0]
        if one.priority and one.priority.lower() != rule.priority.text.lower():
            yield f"'{one.rule}' has priority {rule.priority.text}, expected {one.priority}"
        texts = [rule.format.format(event) for rule, event in mine]
        if one.output and not any(one.output in text for text in texts):
            yield f'\'{one.rule}\' says "{texts[0]}", which does not hold "{one.output}"'


def _silent(name: str, events: list[Any], trials: Trials) -> Iterator[str]:
    rule = trials.rules[name]
    for written, event in events:
        finding = trials.finding(name, event)
        at = f"event {written.title}: " if len(events) > 1 else ""
        if event.name not in rule.event_types:
            types = ", ".join(sorted(rule.event_types)[:6])
            yield f"{at}'{name}' did not fire: it runs on {types}, not on {event.name}"
        elif finding.truth and (taken := trials.before(rule, event)) is not None:
            yield f"{at}'{name}' did not fire: '{taken.name}' stands before it and fired instead"
        else:
            yield f"{at}'{name}' did not fire: {because(finding)}"


def _unexpected(alerts: Iterable[Any], trials: Trials) -> Iterator[str]:
    for rule, event, written in alerts:
        finding = trials.finding(rule.name, event)
        yield f"'{rule.name}' fired on event {written.title}: {because(finding)}: {rule.format.format(event)}"
