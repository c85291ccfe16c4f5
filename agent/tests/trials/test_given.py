# SPDX-License-Identifier: Apache-2.0
"""Written values get the types of their fields, or are refused with the reason."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

import pytest

from falco_py.trials.given import GivenCatalogue, GivenError, field_of, typed

CATALOGUE = GivenCatalogue()


def value(written: str, plain: Any) -> Any:
    row, spelling = field_of(CATALOGUE, written)
    return typed(row, spelling, plain, CATALOGUE.known_events)


@pytest.mark.parametrize(
    ("field", "plain", "expected"),
    [
        ("proc.name", "cat", "cat"),
        ("proc.name", 42, "42"),
        ("proc.name", None, None),
        ("proc.pid", "42", 42),
        ("proc.pid", 42, 42),
        ("proc.tty", "0x8800", 0x8800),
        ("proc.tty", "<NA>", None),
        ("evt.failed", "true", True),
        ("evt.failed", False, False),
        ("proc.fdusage", "1.5", 1.5),
        ("fd.sip", "10.0.0.1", ip_address("10.0.0.1")),
        ("fd.snet", "10.0.0.1", ip_address("10.0.0.1")),
        ("fd.sip", "::1", ip_address("::1")),
        ("fd.sport", "https", 443),
        ("fd.sport", 443, 443),
        ("fd.sip.name", "example.org", "example.org"),
        ("proc.aname", ["a", "b"], ("a", "b")),
        ("proc.aname", "(a,b)", ("a", "b")),
        ("proc.aname", "()", ()),
        ("proc.aname[2]", "a", "a"),
        ("evt.buffer", "abc", b"abc"),
        ("evt.arg.flags", "O_RDONLY", "O_RDONLY"),
        ("evt.type", "openat", "openat"),
    ],
)
def test_values_get_the_type_of_the_field(field: str, plain: Any, expected: Any) -> None:
    assert value(field, plain) == expected
    assert type(value(field, plain)) is type(expected)


@pytest.mark.parametrize(
    ("field", "plain", "message"),
    [
        ("proc.nam", "x", "`proc.nam`: no such field"),
        ("thread.exectime", "1", "`thread.exectime` cannot be used: needs the scheduler's switch events"),
        ("proc.aname[x]", "a", "proc.aname[x]: the argument must be a number from 0"),
        ("evt.arg", "a", "`evt.arg` needs an argument"),
        ("evt.arg.nothing", "a", "unknown event argument nothing"),
        ("evt.type", "opne", "unknown event type opne"),
        ("proc.pid", "many", "`proc.pid`: many is not a valid number"),
        ("proc.pid", 1 << 70, "has more than 64 bits"),
        ("evt.failed", "maybe", "`evt.failed`: filter error: unrecognized boolean value maybe"),
        ("fd.sip", "10.0.0.0/8", "`fd.sip`: unrecognized IPv4 address"),
        ("proc.name", ["a"], "`proc.name` has one value, not a list"),
        ("proc.name", {"a": 1}, "`proc.name` has one value, not a mapping"),
        ("proc.aname", [["a"]], "`proc.aname`: the items of the list are no plain values"),
    ],
)
def test_what_no_field_can_have_is_refused(field: str, plain: Any, message: str) -> None:
    with pytest.raises(GivenError) as caught:
        value(field, plain)
    assert message in caught.value.message


def test_the_nearest_field_is_named() -> None:
    with pytest.raises(GivenError) as caught:
        value("proc.nmae", "x")
    assert caught.value.hint == "did you mean 'proc.name'?"


def test_the_time_of_an_alert_is_a_clock_time() -> None:
    assert value("evt.time", 1_700_000_000_123_456_789).endswith(":20.123456789")
    assert value("evt.time", -(1 << 80)) == value("evt.time", 0)


def test_both_spellings_of_an_argument_are_one_field() -> None:
    assert field_of(CATALOGUE, "evt.arg.flags")[1] == field_of(CATALOGUE, "evt.arg[flags]")[1]
