# SPDX-License-Identifier: Apache-2.0
"""What an event cost is put to the rules that drew it out of the kernel."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

from falco_py.events.record import ITEM_LEFT
from falco_py.kernel.accounts import EVERY, WHOLE, Accounts
from tests.kernel import calls
from tests.kernel.test_pushdown import bundle, planned

if TYPE_CHECKING:
    from falco_py.events.event import Event

OWNER = calls.processes("/usr/bin/cat", (), "host")
READ_ONLY, WRITE_ONLY = 0, 1


def accounts_of(*conditions: str) -> Accounts:
    made = bundle(*conditions)
    return Accounts(planned(made), made.rules)


def opened(of: Accounts, path: str, flags: int = READ_ONLY, num: int = 1, generation: int = 0) -> Event:
    """An open with the reason that the kernel gives with it."""
    made = calls.event("openat", 3, {2: flags}, path, b"cat", OWNER)
    made.num = num
    left = of.plan.left(calls.call("openat", 3, {2: flags}, path, b"cat", None))
    made.payload += calls.item(ITEM_LEFT, struct.pack("=QQ", generation, left))
    return made


def test_only_rules_that_the_kernel_left_open_pay() -> None:
    accounts = accounts_of(
        "evt.type = openat and fd.name = /etc/shadow",
        "evt.type = openat and evt.is_open_write = true",
        "evt.type = openat and fd.name startswith /etc/ and user.name = joe",
        "evt.type = openat and proc.name = dog",
        "evt.type = ptrace",
    )
    assert accounts.rules_of(opened(accounts, "/etc/shadow")) == ("r0", "r2")
    assert accounts.rules_of(opened(accounts, "/etc/x", WRITE_ONLY)) == ("r1", "r2")
    assert accounts.rules_of(opened(accounts, "/srv/x")) == ()


def test_a_path_that_the_kernel_cannot_follow_is_on_the_account_of_all_rules_about_paths() -> None:
    accounts = accounts_of("evt.type = openat and fd.name = /a", "evt.type = openat and fd.name = /b")
    assert accounts.rules_of(opened(accounts, "/c/../d")) == ("r0", "r1")


def test_each_of_the_first_events_counts_and_later_ones_stand_for_many() -> None:
    accounts = accounts_of("evt.type = openat and fd.name = /a", "evt.type = openat and fd.name startswith /a")
    for num in range(1, WHOLE):
        assert accounts.measure(opened(accounts, "/a", num=num), 1000) == 1
    assert accounts.delivered == {"r0": WHOLE - 1, "r1": WHOLE - 1}
    assert accounts.nanoseconds == {"r0": 500 * (WHOLE - 1), "r1": 500 * (WHOLE - 1)}
    assert accounts.measure(opened(accounts, "/a", num=WHOLE + 9), 1000) <= 3
    assert accounts.delivered["r0"] == WHOLE + 9
    assert accounts.by_type["openat"] == (WHOLE + 9, 1000 * (WHOLE + 9))


def test_distances_grow_to_one_in_many_and_the_totals_are_those_of_all_events() -> None:
    accounts = accounts_of("evt.type = openat and fd.name = /a")
    num, distances = 1, []
    while num < EVERY * (WHOLE + 4000):
        distances.append(accounts.measure(opened(accounts, "/a", num=num), 1000))
        assert accounts.delivered["r0"] == num
        num += distances[-1]
    assert sum(distance > 1 for distance in distances[: 8 * WHOLE]) > 4 * WHOLE
    late = distances[-3900:]
    assert 0.9 * EVERY < sum(late) / len(late) < 1.1 * EVERY


def test_an_event_that_no_rule_is_known_to_have_wanted_is_counted_apart() -> None:
    accounts = accounts_of("evt.type = openat and fd.name = /a")
    accounts.measure(opened(accounts, "/b"), 1000)
    assert accounts.unclaimed == 1
    assert accounts.delivered == {"r0": 0}


def test_a_start_of_a_program_is_told_whatever_rules_ask_and_costs_their_time() -> None:
    accounts = accounts_of("evt.type = execve and proc.name = x", "evt.type = execve", "evt.type = open")
    start = calls.event("execve", 0, {}, "/bin/x", b"x", OWNER)
    start.life = object()
    accounts.measure(start, 1000)
    assert accounts.delivered == {"r0": 0, "r1": 0, "r2": 0}
    assert accounts.nanoseconds == {"r0": 500, "r1": 500, "r2": 0}


def test_what_another_set_of_rules_drew_out_is_on_nobodys_account() -> None:
    accounts = accounts_of("evt.type = openat and fd.name = /a")
    assert accounts.rules_of(opened(accounts, "/a", generation=1)) == ()
    accounts.generation = 1
    assert accounts.rules_of(opened(accounts, "/a", generation=1)) == ("r0",)
    assert accounts.rules_of(calls.event("openat", 3, {}, "/a", b"cat", OWNER)) == ()


def test_the_snapshot_is_plain_and_has_every_rule() -> None:
    accounts = accounts_of("evt.type = openat and fd.name = /a", "evt.type = open")
    accounts.measure(opened(accounts, "/a"), 1000)
    accounts.tested = lambda: 7
    told: dict[str, Any] = accounts.snapshot({"r0": 3})
    assert told.pop("uptime_s") >= 0
    assert told == {
        "events": 7,
        "measured": 1,
        "unclaimed": 0,
        "rules": [
            {"rule": "r0", "delivered": 1, "matches": 3, "ns": 1000},
            {"rule": "r1", "delivered": 0, "matches": 0, "ns": 0},
        ],
        "event_types": [{"type": "openat", "events": 1, "ns": 1000}],
    }
