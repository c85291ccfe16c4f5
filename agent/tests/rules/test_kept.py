# SPDX-License-Identifier: Apache-2.0
"""A load after others gives what it gives in a fresh process: the same problems, the same source, the same alerts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from falco_py.config.model import Selection
from falco_py.fields import catalogue
from falco_py.rules import compiler, grammar, kept
from falco_py.rules.bundle import Bundle, Default, load
from falco_py.rules.kept import Memo, kept_for
from falco_py.rules.problems import RulesError
from tests.rules.standin import Catalogue, rule
from tests.rules.test_oracle import CONDITIONS, some_events

if TYPE_CHECKING:
    from collections.abc import Iterator

RULES = Path(__file__).parents[3] / "rules" / "falco_rules.yaml"
ALL = [Selection(enable=True, rule="*")]


class Keyed(Catalogue):
    """The stand-in fields, for which things are kept over loads."""

    key = "stand-in"


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    kept.forget()
    yield
    kept.forget()


def outcome(text: str, catalogue: Any, **options: Any) -> tuple[Any, Bundle | None]:
    """(all that a load tells, what it made)"""
    try:
        made = load([("rules.yaml", text)], catalogue=catalogue, selections=ALL, **options)
    except RulesError as error:
        return error.problems, None
    return told(made), made


def told(made: Bundle) -> Any:
    rules = [
        (one.name, one.index, one.place, one.condition, one.event_types, one.tree, one.format.text, one.format.keys)
        for one in made.rules
    ]
    return made.warnings, made.source, made.event_types, made.uses, rules


def names(made: Bundle | None, event: Any) -> list[str]:
    """The rules that match."""
    matcher = made.matchers.get(event.name) if made is not None else None
    found = matcher(event) if matcher is not None else None
    return [one.name for one in (found if isinstance(found, tuple) else (found,)) if one is not None]


def in_a_fresh_process(text: str, catalogue: Any, **options: Any) -> tuple[Any, Bundle | None]:
    before = kept._last[:]
    kept.forget()
    grammar._parse.cache_clear()
    compiler._code.cache_clear()
    found = outcome(text, catalogue, **options)
    kept._last[:] = before
    return found


words = st.sampled_from(("a", "b", "ab", "/etc", "proc.name", ""))
lists = st.lists(words, max_size=3).map(lambda items: f"- list: some\n  items: [{', '.join(map(repr, items))}]\n")
PARTS = (
    "{}", "({}) and m", "m or ({})", "not m and ({})", "n and ({})", "proc.name in (some) and ({})",
    "evt.type = open and ({})",
)  # fmt: skip


@st.composite
def rule_sets(draw: st.DrawFn) -> str:
    """Rules over two macros and a list, drawn from few conditions so that later sets share parts with earlier ones."""
    few = draw(st.lists(CONDITIONS, min_size=2, max_size=4))
    condition = st.tuples(st.sampled_from(PARTS), st.sampled_from(few)).map(lambda t: t[0].format(t[1]))
    sets = []
    for _ in range(draw(st.integers(2, 3))):
        text = draw(lists) + "\n" * draw(st.integers(0, 1))
        text += f"- macro: m\n  condition: |-\n    {draw(st.sampled_from(few))}\n"
        text += f"- macro: n\n  condition: |-\n    m and ({draw(st.sampled_from(few))})\n"
        for index in range(draw(st.integers(1, 4))):
            text += f"- rule: r{index}\n  condition: |-\n    {draw(condition)}\n  output: x %proc.name\n"
            text += "  desc: d\n  priority: INFO\n"
        sets.append(text)
    return "\0".join(sets)


@settings(deadline=None, max_examples=80, suppress_health_check=list(HealthCheck))
@given(rule_sets(), st.integers(0, 1 << 32), st.sampled_from(("first", "all")))
def test_rules_load_after_others_as_alone(texts: str, seed: int, matching: str) -> None:
    kept.forget()
    for text in texts.split("\0"):
        alone, after = (outcome(text, one(), rule_matching=matching) for one in (Catalogue, Keyed))
        assert after[0] == alone[0]
        for event in some_events(seed, 10):
            assert names(after[1], event) == names(alone[1], event)


def named(name: str, items: str = "") -> str:
    return f"- list: {name}\n  items: [{items}]\n"


PAIRS = {
    "what was reduced is reduced again, whatever was met before": (
        rule("evt.type = open and (proc.name = a or proc.name = b or (proc.name in (a, b) and proc.pid = 1))"),
        rule("evt.type = open and (proc.name in (a, b) or (proc.name in (a, b) and proc.pid = 1))"),
    ),
    "another list is nearer": (
        named("words") + rule("evt.type = open and proc.name in wordz"),
        named("wordzz") + rule("evt.type = open and proc.name in wordz"),
    ),
    "an empty list was written or named": (
        named("none") + rule("evt.type = open and proc.name in (none)"),
        named("none") + rule("evt.type = open and proc.name in (  )"),
    ),
    "a macro says something else": (
        "- macro: m\n  condition: proc.name = a\n" + rule("evt.type = open and m and proc.name = b"),
        "- macro: m\n  condition: proc.name = b\n" + rule("evt.type = open and m and proc.name = b"),
    ),
    "two macros exchanged": (
        "- macro: m\n  condition: proc.name = a\n- macro: n\n  condition: proc.name = b\n"
        + rule("evt.type = open and m and n"),
        "- macro: m\n  condition: proc.name = b\n- macro: n\n  condition: proc.name = a\n"
        + rule("evt.type = open and m and n"),
    ),
    "a field of another source": (
        rule("evt.type = open and proc.name = a"),
        rule("evt.type = open and proc.name = a", source="k8s_audit"),
    ),
    "a rule has another name": (
        rule("evt.type = open and proc.name = a"),
        rule("evt.type = open and proc.name = a", name="renamed"),
    ),
}


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS.keys())
def test_a_load_does_not_take_what_another_made_of_nearly_the_same(pair: tuple[str, str], first: int) -> None:
    for text in (pair[first], pair[1 - first], pair[first]):
        assert outcome(text, Keyed())[0] == outcome(text, Catalogue())[0]


def changes(text: str) -> list[str]:
    """Edits as a user makes them, some of them wrong, and back."""
    return [
        text,
        text.replace("condition:", "condition: evt.num > 5 and", 3),
        "\n# moved down\n\n" + text,
        text.replace("- macro: spawned_process", "- macro: spawned_proces", 1),
        text + "- list: more\n  items: [a]\n" + rule("evt.type = open and fd.name in (more) and proc.name = proc.exe"),
        text + rule("evt.type = openn and fd.name = a"),
        text + rule("spawned_process and proc.name = a and proc.name = b", "%container.info x"),
        text + rule("spawned_process", name="hides") + rule("spawned_process and proc.name = a", name="hidden"),
        text.replace("[", "[one_more, ", 5),
        text,
    ]


@pytest.mark.parametrize("matching", ["first", "all"])
def test_the_rules_of_the_agent_load_after_edits_as_alone(matching: str) -> None:
    for text in changes(RULES.read_text()):
        after = outcome(text, Default(), rule_matching=matching)
        alone = in_a_fresh_process(text, Default(), rule_matching=matching)
        assert after[0] == alone[0]


def test_a_static_field_that_changed_is_not_remembered() -> None:
    text = rule("evt.type = open and proc.name = val(static.who)", "x %static.who")
    try:
        for value in ("a", "b", "a"):
            catalogue.set_static({"who": value})
            _, made = outcome(text, Default())
            assert made is not None
            assert repr(value) in made.source["open"]
            assert made.rules[0].format.format(None) == f"x {value}"
        catalogue.set_static({})
        problems, made = outcome(text, Default())
        assert made is None
        assert "static.who" in problems[0].message
    finally:
        catalogue.set_static({})


def test_a_second_load_makes_little_anew() -> None:
    text = RULES.read_text()
    outcome(text, Default())
    first = len(kept_for(Default()))
    for number in range(5):
        outcome(text + rule(f"evt.type = open and fd.name = new{number}"), Default())
    assert len(kept_for(Default())) < first * 2.2
    assert first < kept.MAX_ENTRIES / 4


def test_everything_is_forgotten_when_it_grew_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    before = kept_for(Default())
    outcome(rule("evt.type = open and fd.name = a"), Default())
    assert kept_for(Default()) is before
    monkeypatch.setattr(kept, "MAX_ENTRIES", 3)
    assert kept_for(Default()) is not before


def test_nothing_is_kept_for_fields_that_may_be_any() -> None:
    assert kept_for(Catalogue()) is not kept_for(Catalogue())


def test_what_two_loads_did_not_ask_for_is_forgotten() -> None:
    memo: Memo[int] = Memo()
    one = object()
    assert memo.get((one,), "a", lambda: 1) == 1
    assert memo.get((one,), "b", lambda: 2) == 2
    memo.end()
    assert memo.get((one,), "a", lambda: 3) == 1
    memo.end()
    assert memo.get((one,), "a", lambda: 3) == 1
    assert memo.get((one,), "b", lambda: 4) == 4


def test_what_raised_is_made_again() -> None:
    memo: Memo[float] = Memo()
    with pytest.raises(ZeroDivisionError):
        memo.get((), None, lambda: 1 / 0)
    assert memo.get((), None, lambda: 1.0) == 1.0
