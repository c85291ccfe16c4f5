# SPDX-License-Identifier: Apache-2.0
"""Output texts: what is replaced, how values print, what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from falco_py.rules.bundle import load
from falco_py.rules.expressions import CheckError, Writer
from falco_py.rules.formats import Formats, OutputFormat
from tests.rules.standin import Catalogue, Event, address, codes, loaded, only_failure, rule


def compiled(text: str, *, base64: bool = False) -> OutputFormat:
    return Formats(Writer(Catalogue()), base64=base64).compile(text)


def shown(text: str, **values: Any) -> str:
    return compiled(text).format(Event("open", {key.replace("__", "."): value for key, value in values.items()}))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("plain", "plain"),
        ("%proc.name", "init"),
        ("<%proc.name>", "<init>"),
        ("%proc.name%proc.pid", "init7"),
        ("%proc.names", "inits"),
        ("%proc.name.", "init."),
        ("%proc.name.x", "init.x"),
        ("%proc.name[1]", "init[1]"),
        ("%proc.aname[1]", "one"),
        ("%proc.aname[2", "(one,two)[2"),
        ("%evt.arg.flags", "F"),
        ("%evt.arg[flags]", "F"),
        ("%2proc.name", "in"),
        ("%6proc.name|", "init  |"),
        ("%8proc.pname|", "<NA>    |"),
        ("%proc.pname", "<NA>"),
        ("%proc.args", "(a,b)"),
        ("%proc.is_exe_writable", "true"),
        ("%proc.tty", "FF"),
        ("%fd.rip", "10.0.0.1"),
        ("%evt.raw", "a.b"),
        ("%evt.type", "open"),
        ("%toupper(proc.name)", "INIT"),
        ("%toupper(proc.name)s", "INITs"),
        ("%concat(proc.name, '-', evt.type)!", "init-open!"),
        ("%toupper(proc.pname)", "<NA>"),
        ("%len(proc.args)", "2"),
        ("100 é %proc.name", "100 é init"),
        ("(%proc.name) [%proc.pid]", "(init) [7]"),
    ],
)
def test_tokens_are_replaced(text: str, message: str) -> None:
    values = {
        "proc.name": "init", "proc.pid": 7, "proc.aname": ("one", "two"), "proc.aname[1]": "one", "evt.arg[flags]": "F",
        "proc.args": ("a", "b"), "proc.is_exe_writable": True, "proc.tty": 255, "fd.rip": address("10.0.0.1"),
        "evt.raw": b"a\x00b",
    }  # fmt: skip
    assert shown(text, **values) == message


def test_fields_are_values_by_the_name_they_were_written_with() -> None:
    found = compiled("%proc.name %5proc.pid %proc.args %proc.tty %evt.arg.flags %toupper(proc.pname)")
    event = Event("open", {"proc.name": "a", "proc.pid": 1, "proc.args": ("x",), "proc.tty": 255, "proc.pname": "p"})
    assert found.fields(event) == {
        "proc.name": "a", "proc.pid": 1, "proc.args": ("x",), "proc.tty": "FF", "evt.arg.flags": None, "proc.pname": "p"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("output", "column", "message"),
    [
        ("a %proc.nam", 13, "`proc.nam`: no such field"),
        ("a %% b", 13, "unknown filter: unexpected token after '%'"),
        ("a % b", 13, "unknown filter: unexpected token after '%'"),
        ("a %5", 13, "unknown filter: no field of the width 5"),
        ("a %99999proc.name", 13, "unknown filter: no field of the width 99999"),
        ("a %", 13, "invalid formatting syntax: formatting cannot end with a %"),
        ("a %evt.arg", 13, "evt.arg needs an argument, such as evt.arg[...]"),
        ("a %evt.cpu", 13, "`evt.cpu` cannot be used: it cannot be known"),
        ("a %proc.aname[x]", 13, "proc.aname[x]: the argument must be a number from 0"),
        ("a %val(proc.name)", 13, "unknown filter: unexpected token after '%'"),
        ("a %toupper(proc.name", 13, "unknown filter: not a transformer"),
        ("a %toupper(proc.nam)", 22, "`proc.nam`: no such field"),
        ("a %b64(proc.pid)", 14, "can't add field transformer: type 'INT64' is not supported by 'b64' transformer"),
    ],
)
def test_what_is_no_token_is_told_with_its_place(output: str, column: int, message: str) -> None:
    problem = only_failure(rule("evt.type = open", output))
    assert (problem.code, problem.line, problem.column) == ("LOAD_ERR_COMPILE_OUTPUT", 4, column)
    assert problem.message == message


def test_an_unknown_field_comes_with_the_nearest_one() -> None:
    assert only_failure(rule("evt.type = open", "a %proc.nme")).hint == "did you mean 'proc.name'?"


def test_container_info_is_taken_out_and_columns_stay_right() -> None:
    bundle = loaded(rule("evt.type = open", "a %container.info"))
    (warning,) = bundle.warnings
    assert (warning.code, warning.line, warning.column) == ("LOAD_DEPRECATED_ITEM", 4, 13)
    assert bundle.rules[0].format.format(Event()) == "a"
    problem = only_failure(rule("evt.type = open", "a %container.info b %container.info c %proc.nam"))
    assert problem.column == 49


def test_an_output_of_container_info_alone_is_empty() -> None:
    assert only_failure(rule("evt.type = open", '"%container.info"')).message == "empty formatting token"


def test_deprecated_fields_in_an_output_are_warned_about() -> None:
    (warning,) = loaded(rule("evt.type = open", "a %evt.latency")).warnings
    assert (warning.code, warning.line, warning.column) == ("LOAD_DEPRECATED_ITEM", 4, 13)
    assert codes(loaded(rule("evt.type = open", "a %evt.num"))) == []


class TestBase64:
    """buffer_format_base64"""

    EVENT = Event("open", {"evt.raw": b"a\x00\xffb", "proc.name": "init", "proc.args": ("a", "b")})

    def test_bytes_are_encoded_once_in_the_message_and_in_the_fields(self) -> None:
        made = compiled("%evt.raw %proc.name %proc.args", base64=True)
        assert made.format(self.EVENT) == "YQD/Yg== init (a,b)"
        assert made.fields(self.EVENT) == {"evt.raw": "YQD/Yg==", "proc.name": "init", "proc.args": ("a", "b")}

    def test_a_width_counts_what_is_shown(self) -> None:
        assert compiled("%4evt.raw|%10evt.raw|", base64=True).format(self.EVENT) == "YQD/|YQD/Yg==  |"

    def test_no_bytes_are_still_missing(self) -> None:
        made = compiled("%evt.raw", base64=True)
        assert (made.format(Event()), made.fields(Event())) == ("<NA>", {"evt.raw": None})
        assert compiled("%evt.raw|", base64=True).format(Event("open", {"evt.raw": b""})) == "|"

    def test_without_it_bytes_stay_bytes_and_print_with_dots(self) -> None:
        made = compiled("%evt.raw")
        assert (made.format(self.EVENT), made.fields(self.EVENT)) == ("a..b", {"evt.raw": b"a\x00\xffb"})

    def test_extra_fields_are_encoded_as_well(self) -> None:
        extra = (("evt.raw", None), ("text", "<%evt.raw>"))
        made = Formats(Writer(Catalogue()), base64=True).compile("%proc.name", extra)
        assert made.fields(self.EVENT) == {"proc.name": "init", "evt.raw": "YQD/Yg==", "text": "<YQD/Yg==>"}

    def test_rules_are_loaded_with_it_or_without_it_one_after_the_other(self) -> None:
        """What an earlier load of the same rules made is not used when the other form is asked for."""
        text = rule("evt.type = read", '"%evt.buffer %evt.rawarg.data"')
        shown = []
        for base64 in (True, False, True):
            (made,) = load([("rules.yaml", text)], base64=base64).rules
            shown.append([token.show(b"\x00a") for token in made.format._parts if not isinstance(token, str)])
        assert shown == [["AGE=", "AGE="], [".a", ".a"], ["AGE=", "AGE="]]


@settings(max_examples=400, deadline=None)
@given(
    st.lists(st.sampled_from(("%", "proc.name", "5", "[", "1]", "toupper(", ")", " ", "é", ".", "(", "evt.arg", "\\")))
)
def test_any_output_is_a_format_or_an_error_inside_it(pieces: list[str]) -> None:
    text = "".join(pieces)
    try:
        made = compiled(text)
    except CheckError as error:
        found = error
    else:
        assert isinstance(made.format(Event()), str)
        return
    assert 0 <= found.finding.at <= len(text)
