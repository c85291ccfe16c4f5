# SPDX-License-Identifier: Apache-2.0
"""Files of events, in all their forms, and every mistake with its place."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import given as examples
from hypothesis import strategies as st

from falco_py.trials.documents import FileError, documents
from falco_py.trials.events import read_events
from falco_py.trials.given import GivenCatalogue

CATALOGUE = GivenCatalogue()
ALERT = {
    "rule": "r",
    "output": "o",
    "output_fields": {"evt.time": 1_700_000_000_000_000_000, "proc.name": "cat", "site": "x"},
}


def names(text: str) -> list[object]:
    return [one.values.get("proc.name") for one in read_events("f", text, CATALOGUE)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("proc.name: a\n", ["a"]),
        ("proc.name: a\n---\nproc.name: b\n", ["a", "b"]),
        ("- proc.name: a\n- proc.name: b\n", ["a", "b"]),
        ('{"proc.name": "a"}', ["a"]),
        ('{"proc.name": "a"}\n\n{"proc.name": "b"}\n', ["a", "b"]),
        ('[{"proc.name": "a"}, {"proc.name": "b"}]', ["a", "b"]),
        ("{proc.name: a}", ["a"]),
        ("proc.name: 42\n", ["42"]),
        ("proc.name: ~\n", [None]),
        ("proc.name: '~'\n", ["~"]),
        ('{"proc.name": "a"}\nEvents detected: 1\n', ["a"]),
        (json.dumps(ALERT), ["cat"]),
    ],
)
def test_events_are_read_in_every_form(text: str, expected: list[object]) -> None:
    assert names(text) == expected


def test_an_alert_brings_its_rule_and_leaves_out_what_is_no_field() -> None:
    (event,) = read_events("f", json.dumps(ALERT), CATALOGUE)
    assert (event.rule, event.ignored) == ("r", ("site",))


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        ("proc.name: a\nproc.nam: b\n", "f:2:1", "`proc.nam`: no such field"),
        ("proc.pid: x\n", "f:1:11", "`proc.pid`: x is not a valid number"),
        ("proc.name: a\nproc.name: b\n", "f:2:1", "'proc.name' stands here for the second time"),
        ("[1, 2]", "f:1:1", "an event is a mapping of fields to values"),
        ("a: [b", "f:1:6", "this is no YAML"),
        ('{"a": ]}', "f:1:7", "this is no JSON"),
        ('{"proc.name": "a"}\n{"proc.name": }\n', "f:2:15", "this is no JSON"),
        ("", "f:1:1", "there is no event in this file"),
        ("rule: x\noutput: y\n", "f:1:1", "`rule`: no such field"),
        ("? [a]\n: b\n", "f:1:3", "a key is a plain word"),
        ("a: " + "[" * 60 + "]" * 60, "f:1:54", "this is nested too deeply"),
    ],
)
def test_a_mistake_is_told_with_its_place(text: str, place: str, message: str) -> None:
    with pytest.raises(FileError) as caught:
        read_events("f", text, CATALOGUE)
    assert str(caught.value).startswith(f"{place}: {message}"), str(caught.value)


def test_aliases_do_not_grow_without_bound() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    with pytest.raises(FileError, match="too many values"):
        documents("f", "\n".join(lines))


@examples(st.one_of(st.text(), st.text(alphabet='{}[]:,-"\n proc.name&*!|>%@\t', max_size=60)))
def test_no_text_raises_anything_else(text: str) -> None:
    with suppress(FileError):
        read_events("f", text, CATALOGUE)
