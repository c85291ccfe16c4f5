# SPDX-License-Identifier: Apache-2.0
"""Measured events become what each rule and each event type costs: events that reach user space, and nanoseconds.

One event in many is measured, at random distances, and stands for those since the one before. Invariant: one thread
writes, others read copies; the number of entries is bounded by the rules and event types there are.
"""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, Any

from ..events.record import clauses_left

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ..events.event import Event
    from ..rules.bundle import Rule
    from .pushdown import Plan

EVERY = 4096  # events from one that is measured to the next, on average, on a machine that had many
WHOLE = 64  # the first events, each of which is measured; from then on the distances grow
_MAX_SETS = 4096  # of clauses whose rules are remembered


class Accounts:
    """For one plan and its rules. `tested`: how many events there were.

    `delivered`: by rule, the events that reached user space on its account; an event counts for each rule that the
    kernel could not exclude. `nanoseconds`: by rule, its even share of what testing these events took.
    """

    def __init__(self, plan: Plan, rules: Sequence[Rule]) -> None:
        self.plan = plan
        self.generation = 0  # of the plan in the kernel (load.Capture)
        self.started = time.monotonic()
        self.tested: Callable[[], int] = lambda: self.measured
        self.measured = 0
        self.unclaimed = 0  # no rule is known to have wanted them
        self.delivered = dict.fromkeys((rule.name for rule in rules), 0)
        self.nanoseconds = dict.fromkeys(self.delivered, 0)
        self.by_type: dict[str, tuple[int, int]] = {}  # events, nanoseconds
        self._of_type: dict[str, tuple[str, ...]] = {}
        for event in {name for rule in rules for name in rule.event_types}:
            self._of_type[event] = tuple(rule.name for rule in rules if event in rule.event_types)
        self._of_clauses: dict[int, tuple[str, ...]] = {}
        self._random = random.Random(0).randrange
        self._last = 0  # number of the event that was measured last

    def go_on_from(self, before: Accounts) -> None:
        """What rules of the same names cost until now is counted on."""
        self.started, self.measured, self._last = before.started, before.measured, before._last
        self.unclaimed, self.by_type = before.unclaimed, before.by_type
        for name in self.delivered:
            self.delivered[name] = before.delivered.get(name, 0)
            self.nanoseconds[name] = before.nanoseconds.get(name, 0)

    def measure(self, event: Event, took_ns: int) -> int:
        """`took_ns`: the test of all rules. Gives the distance to the next event that is to be measured."""
        stands_for = event.num - self._last
        self._last = event.num
        self.measured += 1
        took_ns *= stands_for
        name = event.name
        events, spent = self.by_type.get(name, (0, 0))
        self.by_type[name] = events + stands_for, spent + took_ns
        if event.life is None:
            rules = self.rules_of(event)
            for rule in rules:
                self.delivered[rule] += stands_for
            self.unclaimed += stands_for * (not rules)
        else:  # told whatever the rules ask
            rules = self._of_type.get(name, ())
        if rules:
            share = took_ns // len(rules)
            for rule in rules:
                self.nanoseconds[rule] += share
        return self._random(1, 2 * min(EVERY, 1 + event.num // WHOLE))

    def rules_of(self, event: Event) -> tuple[str, ...]:
        """The rules on whose account the kernel told of a system call; none when the record does not say."""
        told = clauses_left(event.payload)
        if told is None or told[0] != self.generation:
            return ()
        left = told[1]
        rules = self._of_clauses.get(left)
        if rules is None:
            if len(self._of_clauses) >= _MAX_SETS:
                self._of_clauses.clear()
            rules = self._of_clauses[left] = self.plan.rules_of(left)
        return rules

    def snapshot(self, matches: Mapping[str, int]) -> dict[str, Any]:
        """Plain values, for any thread. `matches`: alerts by rule."""
        delivered, spent, by_type, matched = (
            dict(self.delivered),
            dict(self.nanoseconds),
            dict(self.by_type),
            dict(matches),
        )
        return {
            "uptime_s": round(time.monotonic() - self.started, 1),
            "events": self.tested(),
            "measured": self.measured,
            "unclaimed": self.unclaimed,
            "rules": [
                {"rule": name, "delivered": delivered[name], "matches": matched.get(name, 0), "ns": spent[name]}
                for name in delivered
            ],
            "event_types": [
                {"type": name, "events": events, "ns": took} for name, (events, took) in sorted(by_type.items())
            ],
        }
