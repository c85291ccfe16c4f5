# SPDX-License-Identifier: Apache-2.0
"""What was lost becomes Falco's alert, as often as the configuration lets it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from falco_py.config import Config, Drops
from falco_py.engine.drops import MAX_NAMED, RULE, DropMonitor, TokenBucket, Watched
from falco_py.log import Level, log

if TYPE_CHECKING:
    from falco_py.engine.alert import InternalAlert

CLASSES = ("clone_fork", "execve", "connect", "open", "dir_file", "close", "proc", "other_interest")
NOON_NS = 1_700_000_000_123_456_789
RULES = (
    Watched("debug open", 7, frozenset({"open"})),
    Watched("critical open", 2, frozenset({"open", "connect"})),
    Watched("notice close", 5, frozenset({"close"})),
)


@dataclass
class Counted:
    sent: dict[str, int] = field(default_factory=lambda: dict.fromkeys(CLASSES, 0))
    dropped: dict[str, int] = field(default_factory=lambda: dict.fromkeys(CLASSES, 0))
    shed: dict[str, int] = field(default_factory=lambda: dict.fromkeys(CLASSES, 0))
    errors: dict[str, int] = field(default_factory=lambda: {"scratch": 0})


class Seconds:
    """A monitor whose counters grow by what each second brings."""

    def __init__(self, *, rules: tuple[Watched, ...] = RULES, **settings: object) -> None:
        self.alerts: list[InternalAlert] = []
        made = Drops(**{"rate": 1000.0, "max_burst": 1000.0, **settings})  # type: ignore[arg-type]
        self.monitor = DropMonitor(made, rules, self.alerts.append)
        self.now_s = 50.0
        self.counters = Counted()
        self.monitor.check(self.now_s, NOON_NS, self.counters, 0)

    def pass_one(self, *, sent: int = 100, level: int = 0, shed: dict[str, int] | None = None, **dropped: int) -> None:
        self.now_s += 1
        before = self.counters
        self.counters = Counted(
            {**before.sent, "open": before.sent["open"] + sent},
            {name: count + dropped.get(name, 0) for name, count in before.dropped.items()},
            {name: count + (shed or {}).get(name, 0) for name, count in before.shed.items()},
        )
        self.monitor.check(self.now_s, NOON_NS, self.counters, level)

    @property
    def fields(self) -> dict[str, object]:
        return dict(self.alerts[-1].fields)


@pytest.fixture(autouse=True)
def lines(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Level, str]]:
    found: list[tuple[Level, str]] = []
    monkeypatch.setattr(type(log), "write", lambda _self, level, message: found.append((level, message)))
    return found


def test_a_bucket_starts_full_and_fills_by_its_rate() -> None:
    bucket = TokenBucket(0.5, 2)
    assert [bucket.claim(at) for at in (10, 10, 10, 11, 12, 13, 14)] == [True, True, False, False, True, False, True]


def test_a_bucket_holds_no_more_than_its_most() -> None:
    bucket = TokenBucket(1, 1)
    assert bucket.claim(0)
    assert [bucket.claim(at) for at in (100, 100)] == [True, False]


def test_a_bucket_without_tokens_gives_none() -> None:
    assert not TokenBucket(1, 0).claim(0)


def test_a_clock_that_goes_back_takes_no_token() -> None:
    bucket = TokenBucket(1, 1)
    assert bucket.claim(10)
    assert not bucket.claim(5)
    assert bucket.claim(6)


def test_the_alert_is_falcos() -> None:
    run = Seconds()
    run.pass_one(sent=60, open=30, close=10)
    (alert,) = run.alerts
    parsed = json.loads(alert.line(Config(json_output=True, json_include_tags_property=True)))
    fields = parsed.pop("output_fields")
    assert parsed.pop("hostname")
    assert parsed == {
        "output": "Falco internal: syscall event drop. 40 system calls dropped in last second.",
        "priority": "Debug",
        "rule": "Falco internal: syscall event drop",
        "source": "internal",
        "time": "2023-11-14T22:13:20.123456789Z",
    }
    assert all(isinstance(value, str) for value in fields.values())
    falcos = {
        "n_evts": "100", "n_drops": "40", "n_drops_buffer_total": "40", "n_drops_buffer_clone_fork_exit": "0",
        "n_drops_buffer_execve_exit": "0", "n_drops_buffer_connect_exit": "0", "n_drops_buffer_open_exit": "30",
        "n_drops_buffer_dir_file_exit": "0", "n_drops_buffer_other_interest_exit": "0",
        "n_drops_buffer_close_exit": "10", "n_drops_buffer_proc_exit": "0", "n_drops_scratch_map": "0",
        "n_drops_page_faults": "0", "n_drops_bug": "0", "ebpf_enabled": "1",
    }  # fmt: skip
    assert {name: fields[name] for name in falcos} == falcos


def test_the_text_form_shows_the_fields() -> None:
    run = Seconds()
    run.pass_one(sent=60, open=40)
    line = run.alerts[0].line(Config())
    assert " Debug Falco internal: syscall event drop. 40 system calls dropped in last second. (" in line
    assert 'blind_for_s="1.0" blind_rules="critical open, debug open"' in line
    assert line.endswith(' shed_since_last="")')


def test_what_was_shed_is_told_with_the_rules_that_were_not_asked() -> None:
    run = Seconds()
    run.pass_one(sent=50, level=1, shed={"open": 45, "proc": 5})
    assert run.fields["n_drops"] == "50"
    assert run.fields["n_drops_buffer_total"] == "0"
    assert run.fields["n_shed_total"] == "50"
    assert run.fields["n_shed_open_exit"] == "45"
    assert run.fields["shed_below"] == "Notice"
    assert run.fields["shed_since_last"] == "open 45, proc 5"
    assert run.fields["blind_rules"] == "debug open"


def test_rules_that_were_asked_are_not_called_blind() -> None:
    run = Seconds()
    run.pass_one(sent=0, level=2, shed={"open": 1, "close": 1})
    assert run.fields["blind_rules"] == "notice close, debug open"


def test_all_rules_of_a_class_that_was_dropped_are_blind_the_most_severe_first() -> None:
    run = Seconds()
    run.pass_one(sent=0, open=1)
    assert run.fields["blind_rules"] == "critical open, debug open"


def test_the_list_of_blind_rules_is_bounded() -> None:
    run = Seconds(rules=tuple(Watched(f"r{n:02}", 4, frozenset({"open"})) for n in range(MAX_NAMED + 7)))
    run.pass_one(sent=0, open=1)
    assert run.fields["blind_rules"] == ", ".join(f"r{n:02}" for n in range(MAX_NAMED)) + " and 7 more"


def test_what_was_lost_between_two_alerts_is_told_by_the_second() -> None:
    run = Seconds(rate=0.5, max_burst=1)
    run.pass_one(sent=0, open=3)
    run.pass_one(sent=0, level=4, shed={"close": 5})
    run.pass_one(sent=0, connect=7)
    assert len(run.alerts) == 2
    assert run.fields["n_drops"] == "7"
    assert run.fields["dropped_since_last"] == "connect 7"
    assert run.fields["shed_since_last"] == "close 5"
    assert run.fields["shed_below"] == "Critical"
    assert run.fields["blind_for_s"] == "3.0"
    assert run.fields["blind_rules"] == "critical open, notice close"
    assert (run.monitor.occurrences, run.monitor.actions) == (3, 2)


def test_a_second_without_loss_ends_the_blindness() -> None:
    run = Seconds()
    run.pass_one(open=100)
    run.pass_one()
    run.pass_one(open=100)
    assert run.fields["blind_for_s"] == "1.0"


def test_at_the_threshold_nothing_is_done() -> None:
    run = Seconds(threshold=0.1)
    run.pass_one(sent=90, open=10)
    assert run.monitor.occurrences == 0
    run.pass_one(sent=89, open=11)
    assert run.monitor.occurrences == 1


def test_a_quiet_second_is_no_occurrence() -> None:
    run = Seconds(threshold=0)
    run.pass_one()
    assert (run.monitor.occurrences, run.alerts) == (0, [])


def test_what_was_lost_before_the_first_look_is_not_of_the_last_second() -> None:
    run = Seconds()
    assert run.alerts == []


def test_simulated_drops_come_each_second_whatever_the_threshold(lines: list[tuple[Level, str]]) -> None:
    run = Seconds(simulate=True, threshold=1.0)
    run.pass_one()
    run.pass_one(sent=0)
    assert [alert.fields["n_drops"] for alert in run.alerts] == ["1", "1"]
    assert lines.count((Level.INFO, "Simulating syscall event drop")) == 2


@pytest.mark.parametrize(
    ("actions", "alerts", "logged", "ended"),
    [
        (("ignore",), 0, 0, False),
        ((), 0, 0, False),
        (("log",), 0, 1, False),
        (("alert",), 1, 0, False),
        (("log", "alert"), 1, 1, False),
        (("exit",), 0, 2, True),
        (("alert", "exit"), 1, 2, True),
    ],
)
def test_actions(
    lines: list[tuple[Level, str]], actions: tuple[str, ...], alerts: int, logged: int, ended: bool
) -> None:
    run = Seconds(actions=actions)
    run.pass_one(open=100)
    assert len(run.alerts) == alerts
    told = [message for level, message in lines if level == Level.CRITICAL]
    assert len(told) == logged
    assert all(message.startswith(RULE) for message in told[:1])
    assert told[1:] == ["Exiting."] * (logged == 2)
    assert run.monitor.ended is ended
    assert run.monitor.occurrences == 1
