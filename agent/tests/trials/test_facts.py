# SPDX-License-Identifier: Apache-2.0
"""What follows from given values, and what a test takes for granted."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import given as examples
from hypothesis import strategies as st

from falco_py.trials.facts import completed


def follows(values: dict[str, Any], assume: bool = False) -> dict[str, Any]:
    return completed(values, assume=assume)[0]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"evt.type": "openat"}, {"syscall.type": "openat", "evt.category": "file", "evt.is_io": False}),
        ({"evt.type": "read"}, {"evt.is_io_read": True, "evt.io_dir": "read", "evt.is_open_read": False}),
        ({"evt.rawres": -2}, {"evt.failed": True}),
        ({"evt.rawres": 3}, {"evt.failed": False, "evt.res": "SUCCESS"}),
        ({"evt.res": "ENOENT"}, {"evt.failed": True}),
        (
            {"evt.type": "openat", "evt.arg[flags]": "O_RDWR|O_CLOEXEC"},
            {"evt.is_open_read": True, "evt.is_open_write": True, "evt.is_open_create": False},
        ),
        (
            {"fd.name": "/etc/ssh/key", "fd.type": "file"},
            {"fd.directory": "/etc/ssh", "fd.filename": "key", "fd.typechar": "f", "fd.nameraw": "/etc/ssh/key"},
        ),
        ({"fd.name": "/etc", "fd.typechar": "d"}, {"fd.type": "directory", "fd.directory": "/etc"}),
        (
            {"fd.name": "10.0.0.7:41234->10.96.0.1:443"},
            {
                "fd.sip": ip_address("10.96.0.1"),
                "fd.snet": ip_address("10.96.0.1"),
                "fd.cport": 41234,
                "fd.sport": 443,
                "fd.sproto": "443",
                "fd.type": "ipv4",
                "fd.typechar": "4",
                "fd.ip": (ip_address("10.0.0.7"), ip_address("10.96.0.1")),
                "fd.port": (41234, 443),
                "fd.sockfamily": "ip",
            },
        ),
        (
            {"fd.cip": ip_address("::1"), "fd.sip": ip_address("::2"), "fd.cport": 1, "fd.sport": 2},
            {"fd.name": "::1:1->::2:2", "fd.type": "ipv6"},
        ),
        ({"proc.name": "cat", "proc.args": "-n x"}, {"proc.cmdline": "cat -n x", "proc.args[1]": "x"}),
        ({"proc.name": "cat", "proc.cmdline": "cat x"}, {"proc.args": "x", "proc.args[0]": "x"}),
        ({"proc.pname": "sh", "proc.aname[2]": "sshd"}, {"proc.aname[1]": "sh", "proc.aname": ("sh", "sshd")}),
        ({"proc.aname": ("sh", "sshd")}, {"proc.pname": "sh", "proc.aname[2]": "sshd"}),
        ({"container.id": "host"}, {"container.name": "host", "container.type": "host"}),
        ({"k8smeta.pod.name": "p"}, {"k8s.pod.name": "p"}),
        (
            {"evt.type": "rename", "evt.rawres": 0, "evt.arg[oldpath]": "/a", "evt.arg[newpath]": "/b"},
            {"fs.path.source": "/a", "fs.path.target": "/b"},
        ),
    ],
)
def test_what_is_certain_follows(values: dict[str, Any], expected: dict[str, Any]) -> None:
    made = follows(values)
    assert {name: made.get(name) for name in expected} == expected


def test_what_may_be_otherwise_does_not_follow() -> None:
    assert "fd.directory" not in follows({"fd.name": "/a/b"})
    assert "evt.failed" not in follows({"evt.type": "openat"})
    assert "container.id" not in follows({"evt.type": "openat"})
    assert "proc.args[0]" not in follows({"proc.args": "'a b' c"})


def test_ancestors_put_together_are_known_in_part_only() -> None:
    assert completed({"proc.pname": "sh"}, assume=False)[1] == {"proc.aname"}
    assert completed({"proc.aname": ("sh",)}, assume=False)[1] == frozenset()
    assert completed({"proc.pname": "sh"}, assume=True)[1] == frozenset()


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"evt.type": "openat", "fd.name": "/a"}, {"evt.failed": False, "fd.num": 3, "fd.type": "file"}),
        ({"evt.type": "openat", "fd.name": "/a", "evt.rawres": -2}, {"evt.failed": True, "fd.num": -1}),
        ({"evt.type": "execve"}, {"evt.rawres": 0, "container.id": "host"}),
        ({"evt.type": "connect", "fd.name": "1.1.1.1:1->2.2.2.2:2"}, {"fd.type": "ipv4", "evt.rawres": 0}),
        ({"evt.type": "execve", "k8s.pod.name": "p"}, {"container.id": "0123456789ab"}),
        ({"evt.type": "execve", "container.id": "abc"}, {"container.id": "abc"}),
    ],
)
def test_a_test_takes_the_usual_for_granted(values: dict[str, Any], expected: dict[str, Any]) -> None:
    made = follows(values, assume=True)
    assert {name: made.get(name) for name in expected} == expected


VALUES = st.dictionaries(
    st.sampled_from(
        ["evt.type", "fd.name", "fd.type", "fd.typechar", "fd.cip", "fd.sport", "proc.args", "proc.cmdline", "evt.res"]
    ),
    st.one_of(
        st.none(), st.text(max_size=20), st.sampled_from(["openat", "file", "4", "a:1->b:2", "1.1.1.1:70000->2:2"])
    ),
)


@examples(VALUES, st.booleans())
def test_no_values_raise_and_none_is_changed(values: dict[str, Any], assume: bool) -> None:
    made = follows(values, assume)
    assert {name: made[name] for name in values} == values
