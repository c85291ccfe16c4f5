# SPDX-License-Identifier: Apache-2.0
"""Plans that follow one another in the kernel's tables: nothing of the old ones stays, and a plan that does not fit
changes nothing."""

from __future__ import annotations

import ctypes
import struct
from typing import TYPE_CHECKING

import pytest

from falco_py.kernel import bpf
from falco_py.kernel.host import HostError
from falco_py.kernel.load import Capture
from falco_py.prepared import plan_of
from falco_py.rules.bundle import load

if TYPE_CHECKING:
    from collections.abc import Iterator

    from falco_py.kernel.pushdown import Plan

MAP_GET_NEXT_KEY = 4
HASHES = ("paths", "names", "comms", "ports", "addresses", "tops")


@pytest.fixture
def capture() -> Iterator[Capture]:
    made = Capture()
    yield made
    made.close()


def plan(number: int, paths: int = 3) -> Plan:
    names = ", ".join(f"/a{number}/{which}/file" for which in range(paths))
    text = (
        "- rule: r\n  desc: d\n  priority: INFO\n  output: x %fd.name\n"
        f"  condition: evt.type in (open, openat) and fd.name in ({names}) and proc.name in (p{number}, q)\n"
        "- rule: s\n  desc: d\n  priority: INFO\n  output: x %fd.name\n"
        f"  condition: evt.type = connect and fd.sport = {1000 + number} and fd.snet in (10.{number}.0.0/16)\n"
    )
    return plan_of(load([("rules.yaml", text)]))


def entries(of: bpf.Map) -> int:
    """How many keys a map holds."""
    key, following = ctypes.create_string_buffer(of.key_size), ctypes.create_string_buffer(of.key_size)
    first, count = True, 0
    while True:
        at = 0 if first else ctypes.addressof(key)
        try:
            bpf.call(MAP_GET_NEXT_KEY, struct.pack("=IIQQQ", of.fd, 0, at, ctypes.addressof(following), 0))
        except OSError:
            return count
        first, count = False, count + 1
        ctypes.memmove(key, following, of.key_size)


def held(capture: Capture) -> dict[str, int]:
    return {name: entries(capture._maps[name]) for name in HASHES}


def test_a_hundred_plans_leave_the_entries_of_the_last_one(capture: Capture) -> None:
    capture.filter(plan(0))
    first = held(capture)
    assert sum(first.values()) > 5
    for number in range(1, 100):
        capture.filter(plan(number, 1 + number % 30))
    capture.filter(plan(100))
    assert held(capture) == first


def test_a_plan_that_does_not_fit_is_refused_and_leaves_nothing(capture: Capture) -> None:
    capture.filter(plan(0))
    before, generation = held(capture), capture.generation
    room = capture._maps["paths"].max_entries
    with pytest.raises(HostError, match="do not take these rules"):
        capture.filter(plan(1, room + 1))
    assert held(capture) == before
    assert capture.generation == generation
    capture.filter(plan(2))
    assert held(capture) == before
