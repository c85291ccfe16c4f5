# SPDX-License-Identifier: Apache-2.0
"""Written values become values of the field's type, or an error in Falco's words."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest

from falco_py.rules.literals import LiteralError, to_value


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("INT64", "12", 12),
        ("INT64", "+12", 12),
        ("INT64", "-12", -12),
        ("UINT64", "-1", 2**64 - 1),
        ("UINT32", "4294967297", 1),
        ("INT32", "2147483648", -(2**31)),
        ("RELTIME", "1000000000", 10**9),
        ("DOUBLE", "2", 2),
        ("BOOL", "true", True),
        ("BOOL", "false", False),
        ("PORT", "22", 22),
        ("PORT", "65558", 22),
        ("IPADDR", "10.0.0.1", ip_address("10.0.0.1")),
        ("IPADDR", "::1", ip_address("::1")),
        ("IPNET", "10.1.2.3/8", ip_network("10.0.0.0/8")),
        ("IPNET", "fe80::1/16", ip_network("fe80::/16")),
        ("CHARBUF", "0x10", "0x10"),
        ("BYTEBUF", "ab", b"ab"),
    ],
)
def test_a_value_of_the_right_type(kind: str, text: str, value: object) -> None:
    found = to_value(text, kind, "=")
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("kind", "text", "message"),
    [
        ("INT64", "0x10", "0x10 is not a valid number"),
        ("INT64", "1.5", "1.5 is not a valid number"),
        ("INT64", "", " is not a valid number"),
        ("INT64", "١", "١ is not a valid number"),
        ("INT64", "9" * 5000, "9" * 5000 + " is not a valid number"),
        ("DOUBLE", "1.5", "1.5 is not a valid number"),
        ("BOOL", "True", "filter error: unrecognized boolean value True"),
        ("PORT", "0x10", "unrecognized protocol 0x10"),
        ("PORT", "nosuchsvc", "unrecognized protocol nosuchsvc"),
        ("IPADDR", "10.0.0", "unrecognized IPv4 address 10.0.0"),
        ("IPADDR", "abc", "unrecognized IPv6 address abc"),
        ("IPADDR", "10.0.0.0/8", "unrecognized IPv4 address 10.0.0.0/8"),
        ("IPNET", "10.0.0.0", "unrecognized IP network 10.0.0.0"),
        ("IPNET", "10.0.0.0/33", "invalid netmask 33"),
        ("IPNET", "x/8", "unrecognized IP network x/8"),
    ],
)
def test_a_value_that_is_none(kind: str, text: str, message: str) -> None:
    with pytest.raises(LiteralError) as caught:
        to_value(text, kind, "=")
    assert caught.value.message == message


def test_the_port_of_a_service_is_known_by_name() -> None:
    assert to_value("ssh", "PORT", "=") == 22


def test_bytes_are_written_in_hex_for_the_byte_operators() -> None:
    assert to_value("00fF", "BYTEBUF", "bcontains") == b"\x00\xff"
    for text in ("0", "zz", "0 "):
        with pytest.raises(LiteralError, match="support hex strings only"):
            to_value(text, "BYTEBUF", "bstartswith")


def test_a_bad_regular_expression_is_told_at_load() -> None:
    for text in ("(", "a{2,1}", "(?=a)", r"\1", "a**"):
        with pytest.raises(LiteralError, match="invalid regular expression"):
            to_value(text, "CHARBUF", "regex")
