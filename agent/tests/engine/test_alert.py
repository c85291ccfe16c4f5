# SPDX-License-Identifier: Apache-2.0
"""Alerts in Falco's text and JSON forms, from values that a hostile process chose."""

from __future__ import annotations

import json
import unicodedata
from dataclasses import replace
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from falco_py.config import Config
from falco_py.engine.alert import Alert, hostname

TS = 1_534_527_348_518_937_838  # 2018-08-17T17:35:48.518937838Z
ANY_TEXT = st.text(st.characters(codec=None))


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    monkeypatch.setenv("TZ", "UTC")
    time.tzset()


def alert(message: str = "c 675 curl", **fields: object) -> Alert:
    return Alert(
        rule="r", priority=6, source="syscall", tags=("b", "a"), ts_ns=TS, message=message, fields=fields, hostname="vm"
    )


def test_text_is_time_priority_message() -> None:
    assert alert().text() == "17:35:48.518937838: Informational c 675 curl"


def test_text_time_is_local(monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    monkeypatch.setenv("TZ", "XXX-5:30")
    time.tzset()
    assert alert().text().startswith("23:05:48.518937838: ")
    assert alert().text(iso=True).startswith("2018-08-17T17:35:48.518937838+0000: ")


def test_iso_text_has_the_date() -> None:
    assert alert().text(iso=True) == "2018-08-17T17:35:48.518937838+0000: Informational c 675 curl"


def test_json_has_falcos_keys_in_alphabetical_order() -> None:
    line = alert(**{"user.name": "ubuntu", "fd.sip": None, "evt.num": 675}).json(Config())
    assert line == (
        '{"hostname":"vm","output":"17:35:48.518937838: Informational c 675 curl",'
        '"output_fields":{"evt.num":675,"evt.time":1534527348518937838,"fd.sip":null,"user.name":"ubuntu"},'
        '"priority":"Informational","rule":"r","source":"syscall","tags":["a","b"],'
        '"time":"2018-08-17T17:35:48.518937838Z"}'
    )


def test_json_without_tags_has_an_empty_list() -> None:
    assert json.loads(replace(alert(), tags=()).json(Config()))["tags"] == []


@pytest.mark.parametrize(
    ("key", "option", "default"),
    [
        ("output", "json_include_output_property", True),
        ("message", "json_include_message_property", False),
        ("output_fields", "json_include_output_fields_property", True),
        ("tags", "json_include_tags_property", True),
    ],
)
def test_json_include_options_choose_the_keys(key: str, option: str, default: bool) -> None:
    assert (key in json.loads(alert().json(Config()))) is default
    assert (key in json.loads(alert().json(replace(Config(), **{option: not default})))) is not default


def test_the_message_has_no_time() -> None:
    assert json.loads(alert().json(Config(json_include_message_property=True)))["message"] == "c 675 curl"


def test_with_iso_times_the_json_field_is_named_so() -> None:
    made = json.loads(alert().json(Config(time_format_iso_8601=True)))
    assert made["output_fields"] == {"evt.time.iso8601": TS}
    assert made["output"].startswith("2018-08-17T17:35:48.518937838+0000: ")


def test_values_keep_their_json_types() -> None:
    made = alert(
        b=True,
        i=2**63,
        f=0.5,
        nan=float("nan"),
        inf=float("inf"),
        l=("a", 1, None, (b"\xff",)),
        raw=b"a\xffb",
        ip=ip_address("10.0.0.1"),
        ip6=ip_address("::1"),
    ).json(Config())
    assert json.loads(made)["output_fields"] == {
        "b": True,
        "evt.time": TS,
        "f": 0.5,
        "i": 2**63,
        "inf": None,
        "ip": "10.0.0.1",
        "ip6": "::1",
        "l": ["a", 1, None, ["\ufffd"]],
        "nan": None,
        "raw": "a\ufffdb",
    }


def test_a_newline_cannot_forge_a_second_alert() -> None:
    assert alert("a\n00:00:00.0: Critical forged").text().endswith("Informational a\\n00:00:00.0: Critical forged")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[2J", "\\x1b[2J"),
        ("\x9b2J", "\\x9b2J"),
        ("\x7f", "\\x7f"),
        ("\r", "\\r"),
        ("\u202etxt.exe", "\\u202etxt.exe"),
        ("\u2066x\u2069", "\\u2066x\\u2069"),
        ("\u2028", "\\u2028"),
        ("\udcff", "\\xff"),
        ("\ud800", "\\ud800"),
        ("\U000e0041", "\\U000e0041"),
        ("plain \\n é 日本 \u00a0", "plain \\n é 日本 \u00a0"),
    ],
)
def test_control_characters_are_spelled_out(text: str, shown: str) -> None:
    assert alert(text).text() == f"17:35:48.518937838: Informational {shown}"


def _is_tame(line: str) -> bool:
    hidden = {"Cc", "Cs", "Zl", "Zp"}
    bidi = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
    return not any(unicodedata.category(c) in hidden or unicodedata.bidirectional(c) in bidi for c in line)


@given(ANY_TEXT)
def test_text_of_anything_is_one_tame_line(message: str) -> None:
    line = alert(message).text()
    assert _is_tame(line)
    assert len(line.splitlines()) == 1
    line.encode()


@given(ANY_TEXT, st.dictionaries(ANY_TEXT, st.one_of(ANY_TEXT, st.binary(), st.integers(), st.floats(), st.none())))
def test_json_of_anything_is_one_tame_line_that_reads_back(message: str, fields: dict[str, object]) -> None:
    line = replace(alert(message), fields=fields).json(Config(json_include_message_property=True))
    assert _is_tame(line)
    line.encode()
    read = json.loads(line)
    assert read["message"] == "".join("\ufffd" if "\ud800" <= c <= "\udfff" else c for c in message)


def test_line_follows_the_configuration() -> None:
    assert alert().line(Config()) == alert().text()
    assert alert().line(Config(time_format_iso_8601=True)) == alert().text(iso=True)
    assert alert().line(Config(json_output=True)) == alert().json(Config())


def test_the_hostname_may_be_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FALCO_HOSTNAME", "node-1")
    assert hostname() == "node-1"
    monkeypatch.delenv("FALCO_HOSTNAME")
    assert hostname()
