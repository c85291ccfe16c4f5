# SPDX-License-Identifier: Apache-2.0
"""Bodies that Slack, Alertmanager and Falcosidekick take, whatever watched processes have put into an alert."""

from __future__ import annotations

import json
import re
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from falco_py.config.keys import PRIORITIES
from falco_py.config.model import Config
from falco_py.engine.alert import Alert, InternalAlert
from falco_py.outputs.item import Item
from falco_py.outputs.shapes import SLACK_CHARACTERS, alertmanager, shape, slack

TS_NS = 1_741_109_748_519_227_972


def alert(message: str = "A file was read | file=/etc/shadow", **more: Any) -> Alert:
    made: dict[str, Any] = {
        "rule": "Read file", "priority": 4, "source": "syscall", "tags": ("mitre", "container"), "ts_ns": TS_NS,
        "fields": {}, "hostname": "node-1",
    }  # fmt: skip
    return Alert(message=message, **{**made, **more})


def lined(made: Alert, **config: Any) -> Item:
    return Item(made, made.line(Config(**config)))


def slack_text(item: Item) -> str:
    body = slack(item)
    assert body.type == "application/json"
    assert b"\n" not in body.data
    decoded = json.loads(body.data)
    assert list(decoded) == ["text"]
    return str(decoded["text"])


def am_alert(item: Item) -> dict[str, Any]:
    body = alertmanager(item)
    assert body.type == "application/json"
    (decoded,) = json.loads(body.data)
    return dict(decoded)


class TestFalco:
    def test_the_body_is_the_line(self) -> None:
        item = lined(alert())
        assert shape("falco", json_output=False)(item) == ("text/plain", item.line.encode())
        assert shape("falco", json_output=True)(item) == ("application/json", item.line.encode())


class TestSlack:
    def test_the_text_is_the_line_and_the_host(self) -> None:
        text = slack_text(lined(alert()))
        assert re.fullmatch(
            r"\d\d:\d\d:\d\d\.519227972: Warning A file was read \| file=/etc/shadow hostname=node-1", text
        )

    def test_with_json_output_it_is_the_same_text(self) -> None:
        assert slack_text(lined(alert(), json_output=True)) == slack_text(lined(alert()))

    def test_without_the_output_property_the_text_is_made(self) -> None:
        item = lined(alert(), json_output=True, json_include_output_property=False)
        assert slack_text(item) == (
            "2025-03-04T17:35:48.519227972Z: Warning A file was read | file=/etc/shadow hostname=node-1"
        )

    def test_an_alert_of_the_agent_itself_has_a_text(self) -> None:
        internal = InternalAlert(rule="r", priority=7, source="internal", tags=(), ts_ns=TS_NS, message="drops")
        assert "drops" in slack_text(lined(internal, json_output=True))

    def test_nobody_is_mentioned_and_nothing_linked(self) -> None:
        text = slack_text(lined(alert("name=<!channel> & <https://a|b>"), json_output=True))
        assert "name=&lt;!channel&gt; &amp; &lt;https://a|b&gt;" in text

    def test_it_is_one_line_without_controls(self) -> None:
        text = slack_text(lined(alert("a\nb\x1b[31m\u202ec"), json_output=True))
        assert "a\\nb\\x1b[31m\\u202ec" in text

    def test_a_long_text_is_cut_and_never_within_an_escape(self) -> None:
        for padding in range(8):
            text = slack_text(lined(alert("x" * padding + "&" * 20_000)))
            assert SLACK_CHARACTERS - 10 < len(text) <= SLACK_CHARACTERS
            assert re.fullmatch(r"[^&]*(&amp;)+…", text)

    @given(st.text(), st.booleans())
    def test_any_message_makes_a_body(self, message: str, json_output: bool) -> None:
        text = slack_text(lined(alert(message), json_output=json_output))
        assert not re.search("[<>\x00-\x1f]", text)


class TestAlertmanager:
    def test_labels_and_annotations(self) -> None:
        made = alert(
            fields={"k8s.ns.name": "shop", "k8s.pod.name": "cart-1", "container.name": "cart", "proc.name": "x"}
        )
        item = lined(made)
        assert am_alert(item) == {
            "labels": {
                "alertname": "Read file", "severity": "warning", "priority": "warning", "source": "syscall",
                "hostname": "node-1", "namespace": "shop", "pod": "cart-1", "container": "cart",
            },
            "annotations": {
                "summary": "A file was read | file=/etc/shadow", "description": item.line, "tags": "container,mitre",
            },
            "startsAt": "2025-03-04T17:35:48.519227972Z",
        }  # fmt: skip

    def test_severity_is_of_those_that_routes_are_written_for(self) -> None:
        found = [am_alert(lined(alert(priority=number)))["labels"] for number in range(8)]
        assert [labels["severity"] for labels in found] == ["critical"] * 3 + ["warning"] * 2 + ["info"] * 3
        assert [labels["priority"] for labels in found] == [name.lower() for name in PRIORITIES]

    def test_a_process_of_the_host_has_no_place_in_kubernetes(self) -> None:
        made = alert(fields={"k8s.ns.name": None, "k8s.pod.name": "", "container.name": "host", "container.id": "host"})
        assert not am_alert(lined(made))["labels"].keys() & {"namespace", "pod", "container"}

    def test_a_container_without_a_name_has_its_id(self) -> None:
        made = alert(fields={"container.name": None, "container.id": "0123456789ab"})
        assert am_alert(lined(made))["labels"]["container"] == "0123456789ab"

    @given(st.text(), st.text(min_size=1), st.text(), st.lists(st.text()))
    def test_any_alert_makes_a_body(self, message: str, rule: str, pod: str, tags: list[str]) -> None:
        made = am_alert(lined(alert(message, rule=rule, tags=tuple(tags), fields={"k8s.pod.name": pod})))
        assert made["labels"]["alertname"]
        for name in (*made["labels"], *made["annotations"]):
            assert re.fullmatch("[a-zA-Z_][a-zA-Z0-9_]*", name)
        for value in (*made["labels"].values(), *made["annotations"].values()):
            assert value
            assert not re.search("[\x00-\x1f\ud800-\udfff]", value)

    def test_long_values_are_cut(self) -> None:
        made = am_alert(lined(alert("x" * 100_000, rule="r" * 5000)))
        assert len(made["labels"]["alertname"]) == 1024
        assert len(made["annotations"]["summary"]) == 16_384
