# SPDX-License-Identifier: Apache-2.0
"""The listings show every field once."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from falco_py.fields.catalogue import CATALOGUE
from falco_py.fields.listing import list_json, list_markdown, list_text

if TYPE_CHECKING:
    from collections.abc import Callable


def test_names_are_one_a_line() -> None:
    lines = list_text(names_only=True).splitlines()
    assert sorted(lines) == sorted(CATALOGUE)


def test_text_shows_class_source_and_every_field() -> None:
    lines = list_text().splitlines()
    first = [line.split()[0] for line in lines if line and not line.startswith((" ", "-"))]
    assert [name for name in first if name in CATALOGUE] == list_text(names_only=True).splitlines()
    sources = {line.split()[-1] for line in lines if line.startswith("Event Sources:")}
    assert sources == {"all", "syscall", "k8s_audit"}
    assert max(map(len, lines)) <= 120
    assert any("(FILTER ONLY)" in line for line in lines if line.startswith("fd.ip "))


def test_a_source_has_its_own_fields_and_those_of_all_events() -> None:
    audit, calls = (set(list_text(source, names_only=True).splitlines()) for source in ("k8s_audit", "syscall"))
    assert audit | calls == set(CATALOGUE)
    assert {"evt.num", "evt.time"} < audit & calls
    assert {name.partition(".")[0] for name in audit - calls} == {"ka", "json", "jevt"}
    assert "proc.name" in calls - audit


def test_markdown_has_a_row_for_every_field() -> None:
    text = list_markdown()
    assert all(f"\n`{field.name}` | {field.type} | " in text for field in CATALOGUE.values())
    assert "| (DEPRECATED) Always \\<:" in text


def test_json_describes_every_field() -> None:
    classes = json.loads(list_json())["fieldclasses"]
    fields = {field["name"]: field for group in classes for field in group["fields"]}
    assert set(fields) == set(CATALOGUE)
    assert fields["fd.types"]["details"]["is_list"]
    assert fields["evt.dir"]["details"]["is_deprecated"]
    assert json.loads(list_json(names_only=True)) == list_text(names_only=True).splitlines()


@pytest.mark.parametrize("form", [list_text, list_markdown, list_json])
def test_unknown_source_is_told(form: Callable[[str], str]) -> None:
    with pytest.raises(ValueError, match=r"nope.*syscall"):
        form("nope")
