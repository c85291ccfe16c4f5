# SPDX-License-Identifier: Apache-2.0
"""Repeats of an alert: the first at once, the others counted, none lost."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from falco_py.config.model import Folding as Settings
from falco_py.engine.alert import Alert
from falco_py.engine.folding import MAX_GROUPS, REPEATS, Folding


def alert(message: str = "m", rule: str = "r", **fields: object) -> Alert:
    return Alert(rule, 4, "syscall", (), 0, message, {name.replace("_", "."): value for name, value in fields.items()})


def test_the_first_is_told_at_once_and_the_count_at_the_end() -> None:
    folding = Folding(Settings(60))
    assert not folding.is_repeat(alert(), 0)
    assert folding.is_repeat(alert(), 1)
    assert folding.is_repeat(alert(), 59)
    assert list(folding.due(59.9)) == []
    (summed,) = folding.due(60)
    assert summed.message == "m (and 2 more like this in 60 s)"
    assert summed.fields[REPEATS] == 2
    assert list(folding.due(1000)) == []
    assert not folding.is_repeat(alert(), 1001)


def test_one_that_did_not_come_again_gives_no_count() -> None:
    folding = Folding(Settings(60))
    folding.is_repeat(alert(), 0)
    assert list(folding.due(61)) == []


def test_other_texts_and_other_rules_are_no_repeats() -> None:
    folding = Folding(Settings(60))
    assert not folding.is_repeat(alert("a"), 0)
    assert not folding.is_repeat(alert("b"), 0)
    assert not folding.is_repeat(alert("a", rule="other"), 0)


def test_fields_may_say_what_a_repeat_is() -> None:
    folding = Folding(Settings(60, ("proc.name", "fd.name")))
    assert not folding.is_repeat(alert("1", proc_name="cat", fd_name="/a"), 0)
    assert folding.is_repeat(alert("2", proc_name="cat", fd_name="/a"), 0)
    assert not folding.is_repeat(alert("3", proc_name="cat", fd_name="/b"), 0)
    assert not folding.is_repeat(alert("4", proc_name="cat"), 0)
    (summed,) = folding.rest()
    assert summed.message.startswith("2 (and 1 more")


def test_beyond_the_bound_all_are_told() -> None:
    folding = Folding(Settings(60))
    for number in range(MAX_GROUPS + 10):
        assert not folding.is_repeat(alert(str(number)), 0)
    assert not folding.is_repeat(alert(str(MAX_GROUPS + 5)), 1)
    assert folding.is_repeat(alert("5"), 1)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 3)), max_size=50))
def test_every_alert_is_told_or_counted(came: list[tuple[str, float]]) -> None:
    folding = Folding(Settings(5))
    told, counted, now_s = 0, 0, 0.0
    for message, later_s in came:
        now_s += later_s
        counted += sum(one.fields[REPEATS] for one in folding.due(now_s))  # type: ignore[misc]
        told += not folding.is_repeat(alert(message), now_s)
    counted += sum(one.fields[REPEATS] for one in folding.rest())  # type: ignore[misc]
    assert told + counted == len(came)
    assert folding.folded == counted
