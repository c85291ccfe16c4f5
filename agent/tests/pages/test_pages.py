# SPDX-License-Identifier: Apache-2.0
"""The pages of docs/ say what the code says today, and name all there is."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from falco_py.config import Config, Outputs, WebServer, load
from falco_py.config.keys import KEYS
from falco_py.config.model import AppendOutput
from falco_py.config.reader import Reader
from falco_py.config.tree import Mapping, parse
from falco_py.events.syscalls import NEVER, ROWS
from falco_py.fields.catalogue import CATALOGUE, REFUSED
from falco_py.rules.problems import PHRASES
from pages import DOCS, config, events, fields, guide, kernel, manual, metrics, sessions

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


def test_the_page_of_metrics_is_fresh() -> None:
    assert (DOCS / "metrics.md").read_text() == metrics.page(), FRESH


def test_the_page_of_the_configuration_is_fresh() -> None:
    assert (DOCS / "config.md").read_text() == config.page(), FRESH


def test_the_installed_configuration_is_fresh() -> None:
    assert config.SHIPPED.read_text() == config.shipped(), FRESH


def test_the_manual_page_is_fresh() -> None:
    assert manual.MANUAL.read_text() == manual.man(), FRESH


def test_the_completion_is_fresh() -> None:
    assert manual.BASH.read_text() == manual.bash(), FRESH


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


def test_every_key_of_the_configuration_has_one_row() -> None:
    in_table = re.findall(r"^\| `([^`]+)` \| .* \| .* \| .* \| .* \|$", config.page(), re.MULTILINE)
    assert sorted(in_table) == sorted(KEYS)


def test_the_installed_configuration_is_the_default_but_for_what_a_service_needs() -> None:
    path = str(config.SHIPPED)
    assert load(path, ["config_files=[]"]) == Config(
        files=(path,),
        outputs=Outputs(stdout=True, syslog=True),
        webserver=WebServer(listen_address="127.0.0.1"),
        append_output=(AppendOutput(suggested_output=True),),
    )
    assert load(path).included == ("/etc/falco/config.d",)


def test_the_installed_configuration_has_every_key_that_works_and_no_other() -> None:
    text = config.SHIPPED.read_text()
    tree = parse(text, "falco.yaml")
    assert isinstance(tree, Mapping)
    here = set(Reader(tree, "falco.yaml").nodes)
    working = {key.name for key in KEYS.values() if not key.instead} - {"rules_file"}  # an older name
    assert here <= working
    assert working - here == {"fold_repeats.by", "http_output.headers", "rules", "static_fields"}
    for example in ("\n  # by:\n", "\n  # headers:\n", "\n# rules:\n", "\n# static_fields:\n"):
        assert example in text


def test_the_examples_in_the_installed_configuration_are_read(tmp_path: Path) -> None:
    marks = r"^( *)# (?=(?:by|headers|rules|static_fields):$|  )"
    text = re.sub(marks, r"\1", config.SHIPPED.read_text(), flags=re.MULTILINE)
    path = tmp_path / "falco.yaml"
    path.write_text(text)
    read = load(str(path), ["config_files=[]", "http_output={enabled: true, url: http://a}"])
    assert (read.warnings, read.notices) == ((), ())
    assert read.static_fields == (("site", "berlin"), ("rack", "12"))
    assert len(read.rules) == 2
    assert read.outputs.folding.by == ("proc.name", "container.id")


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
