# SPDX-License-Identifier: Apache-2.0
"""What the configuration adds to the outputs of rules."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from falco_py.config.model import AppendOutput, Match
from falco_py.fields import catalogue
from falco_py.fields.model import Field, FieldType, fixed
from falco_py.rules.bundle import load
from falco_py.rules.extras import suffix, suggested_fields
from falco_py.rules.problems import RulesError
from tests.rules.standin import Catalogue, Event, loaded, rule

if TYPE_CHECKING:
    from collections.abc import Iterator

ON = "evt.type = open"
EVENT = Event("open", {"proc.name": "cat", "proc.pid": 7, "container.id": "host"})
SUGGESTED = AppendOutput(suggested_output=True)


POD = Field(
    name="k8smeta.pod.name", klass="k8smeta", type=FieldType.CHARBUF, doc="", code=fixed("None"), suggested=True
)


class Suggesting(Catalogue):
    CATALOGUE: ClassVar[dict[str, Field]] = {
        **Catalogue.CATALOGUE,
        "container.id": replace(Catalogue.CATALOGUE["container.id"], suggested=True),
        "proc.name": replace(Catalogue.CATALOGUE["proc.name"], suggested=True),
        "k8smeta.pod.name": POD,
    }


def printed(text: str, *entries: AppendOutput, catalogue: Any = Catalogue) -> list[str]:
    bundle = load([("r.yaml", text)], extra_output=entries, catalogue=catalogue())
    return [one.format.format(EVENT) for one in bundle.rules]


def told(*entries: AppendOutput) -> str:
    with pytest.raises(RulesError) as error:
        load([("r.yaml", rule(ON))], extra_output=entries, catalogue=Catalogue())
    (problem,) = error.value.problems
    assert (problem.code, problem.line, problem.item_name) == ("LOAD_ERR_COMPILE_OUTPUT", 4, "r")
    return f"{problem.message} {problem.hint}"


def test_extra_output_follows_after_one_blank_in_order() -> None:
    entries = [AppendOutput(extra_output="by %proc.name"), AppendOutput(extra_output="pid=%proc.pid")]
    assert printed(rule(ON, "seen"), *entries) == ["seen by cat pid=7"]


def test_an_entry_is_for_the_rules_that_it_matches() -> None:
    text = rule(ON, "a", name="a", tags="[x, y]") + rule(ON, "b", name="b", tags="[x]")
    by_name = AppendOutput(Match(rule="b"), extra_output="named")
    by_tags = AppendOutput(Match(tags=frozenset(("x", "y"))), extra_output="tagged")
    by_source = AppendOutput(Match(source="other"), extra_output="never")
    assert printed(text, by_name, by_tags, by_source) == ["a tagged", "b named"]


def test_tokens_of_an_extra_output_are_among_the_fields() -> None:
    made = load([("r.yaml", rule(ON))], extra_output=[AppendOutput(extra_output="%proc.pid")], catalogue=Catalogue())
    assert made.rules[0].format.fields(EVENT) == {"proc.pid": 7}
    assert "proc.pid" in made.uses


def test_extra_fields_are_values_and_not_text() -> None:
    extra = AppendOutput(extra_fields=(("proc.pid", None), ("who", "%proc.name (%proc.pid)")))
    made = load([("r.yaml", rule(ON))], extra_output=[extra], catalogue=Catalogue()).rules[0].format
    assert made.format(EVENT) == "out"
    assert made.fields(EVENT) == {"proc.pid": 7, "who": "cat (7)"}


def test_suggested_fields_are_printed_under_their_names() -> None:
    assert printed(rule(ON, "x"), SUGGESTED, catalogue=Suggesting) == ["x proc_name=cat container_id=host"]


def test_a_suggested_field_that_is_printed_already_is_left_out() -> None:
    text = rule(ON, "x %container.id")
    assert printed(text, SUGGESTED, catalogue=Suggesting) == ["x host proc_name=cat"]
    by_hand = AppendOutput(extra_output="name %proc.name")
    assert printed(text, by_hand, SUGGESTED, SUGGESTED, catalogue=Suggesting) == ["x host name cat"]


def test_the_agents_suggested_fields() -> None:
    assert suffix([SUGGESTED], suggested_fields(catalogue, "syscall"), ()) == (
        " container_id=%container.id container_name=%container.name"
        " container_image_repository=%container.image.repository container_image_tag=%container.image.tag"
        " k8s_pod_name=%k8s.pod.name k8s_ns_name=%k8s.ns.name"
    )


def test_nothing_is_added_without_entries() -> None:
    assert loaded(rule(ON)).rules[0].format.text == "out"
    assert loaded(rule(ON), extra_output=[AppendOutput(Match(rule="other"), "x")]).rules[0].format.text == "out"


def test_a_mistake_is_told_with_the_rule_and_where_it_comes_from() -> None:
    said = told(AppendOutput(extra_output="%proc.nam"))
    assert "proc.nam" in said
    assert "comes from append_output or -p" in said
    assert "extra field 'who': " in told(AppendOutput(extra_fields=(("who", "%proc.nam"),)))
    assert "extra field 'proc.nam': " in told(AppendOutput(extra_fields=(("proc.nam", None),)))
    assert "not the name of a field" in told(AppendOutput(extra_fields=(("proc.name x", None),)))


class TestStaticFields:
    @pytest.fixture(autouse=True)
    def static(self) -> Iterator[None]:
        catalogue.set_static({"site": "here"})
        yield
        catalogue.set_static({})

    def test_they_are_fields_and_suggested(self) -> None:
        made = load([("r.yaml", rule(f"{ON} and static.site = here", "at %static.site"))])
        assert made.rules[0].format.format(EVENT) == "at here"
        assert "static.site" in made.uses
        assert suffix([SUGGESTED], suggested_fields(catalogue, "syscall"), ()).endswith(" static_site=%static.site")
