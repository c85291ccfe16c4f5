# SPDX-License-Identifier: Apache-2.0
"""The pages of docs/ say what the code says today, and name all there is."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from falco_py.events.syscalls import NEVER, ROWS
from falco_py.fields.catalogue import CATALOGUE, REFUSED
from falco_py.rules.problems import PHRASES
from pages import DOCS, events, fields, guide, kernel, sessions

if TYPE_CHECKING:
    from pathlib import Path

FRESH = "run 'make docs'"
README = DOCS.parent / "README.md"


def test_the_page_of_fields_is_fresh() -> None:
    assert (DOCS / "fields.md").read_text() == fields.page(), FRESH


def test_the_page_of_events_is_fresh() -> None:
    assert (DOCS / "events.md").read_text() == events.page(), FRESH


def test_the_page_of_the_kernels_filter_is_fresh() -> None:
    assert (DOCS / "kernel.md").read_text() == kernel.page(), FRESH


def test_the_guide_says_what_is_told_today() -> None:
    text = guide.PAGE.read_text()
    assert text == guide.page(text), FRESH


@pytest.mark.parametrize("path", sessions.PAGES, ids=lambda path: path.name)
def test_commands_print_what_their_pages_show(path: Path) -> None:
    text = path.read_text()
    assert "```console" in text
    assert text == sessions.page(text), FRESH


def rows(page: str) -> set[str]:
    return set(re.findall(r"^\| `([^`]+)` \|", page, re.MULTILINE))


def test_every_field_has_a_row() -> None:
    assert rows(fields.page()) == {*CATALOGUE, *REFUSED}


def test_every_event_is_named() -> None:
    named = {*re.findall(r"`([a-z_0-9]+)`", events.page())}
    assert [name for name in (*ROWS, *NEVER) if name not in named] == []


def test_links_to_flags_lead_somewhere() -> None:
    page = events.page()
    assert set(re.findall(r"\(#([a-z_0-9]+)\)", page)) == set(re.findall(r"^### ([a-z_0-9]+)$", page, re.MULTILINE))


def test_every_warning_is_explained_with_an_example() -> None:
    said = "".join(map(guide.told, guide.examples(guide.PAGE.read_text())))
    assert [code for code in PHRASES if not code.startswith("LOAD_ERR_") and code not in said] == []


@pytest.mark.parametrize("path", sorted(DOCS.glob("*.md")), ids=lambda path: path.name)
def test_the_readme_leads_to_every_page(path: Path) -> None:
    assert f"docs/{path.name}" in README.read_text()


@pytest.mark.parametrize("path", sorted([*DOCS.glob("*.md"), README]), ids=lambda path: path.name)
def test_links_between_pages_lead_somewhere(path: Path) -> None:
    links = re.findall(r"\]\(([^)#:]+\.md)", path.read_text())
    assert [link for link in links if not (path.parent / link).exists()] == []
