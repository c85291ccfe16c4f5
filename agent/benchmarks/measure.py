# SPDX-License-Identifier: Apache-2.0
"""What measuring an event in many costs all of them: the accounting, and the question whether this one is measured."""

from __future__ import annotations

import argparse
import statistics
import time
import timeit
from pathlib import Path
from typing import TYPE_CHECKING

from falco_py.engine.loop import Loop
from falco_py.kernel.accounts import EVERY, WHOLE, Accounts
from falco_py.kernel.pushdown import Rule, plan
from falco_py.rules import bundle

from .match import EVENTS, processes

if TYPE_CHECKING:
    from falco_py.events.event import Event
    from falco_py.events.record import Header

_BATCH, _RUNS, _DISTANCE = 20_000, 15, 500
_NR = 257  # of the records of `match`


class Records:
    """No records of its own; tells the loop that they are openat."""

    def __init__(self) -> None:
        self.native = {_NR: "openat"}
        self.compat: dict[int, str] = {}

    def batch(self) -> list[tuple[Header, bytes]]:
        return []

    def wait(self, timeout_s: float) -> None: ...

    def backlog(self) -> int:
        return 0


class Timed:
    """Accounts and the time of each accounting, among other work, so that caches are as cold as they would be."""

    def __init__(self, accounts: Accounts) -> None:
        self.accounts = accounts
        self.times: list[int] = []

    def measure(self, event: Event, took_ns: int) -> int:
        start = time.perf_counter_ns()
        self.accounts.measure(event, took_ns)
        self.times.append(time.perf_counter_ns() - start)
        return _DISTANCE


def run(loop: Loop, records: list[tuple[Header, bytes]]) -> float:
    """Nanoseconds an event."""
    start = time.perf_counter_ns()
    loop.handle(records)
    return (time.perf_counter_ns() - start) / len(records)


def test_ns() -> float:
    """Of the loop's question whether this event is to be measured."""
    loop = Loop.__new__(Loop)
    loop.events, loop._next_measured = 1, 1 << 20
    with_test = timeit.repeat("loop.events < loop._next_measured", globals={"loop": loop}, number=1_000_000, repeat=7)
    return min(with_test) * 1000


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.measure", description=__doc__)
    parser.add_argument("rules", nargs="+", type=Path, help="rules files, in order")
    options = parser.parse_args()
    loaded = bundle.load([(str(path), path.read_text()) for path in options.rules])
    filters = plan(Rule(rule.name, rule.event_types, rule.tree) for rule in loaded.rules)
    _, head, payload = EVENTS["openat of an ordinary file, reading"]
    table = processes()
    loop = Loop(Records(), loaded, table, lambda _rule, _alert: None)
    loop.events = WHOLE
    timed = Timed(Accounts(filters, loaded.rules))
    loop.measure_with(timed.measure)
    event = min(run(loop, [(head, payload)] * _BATCH) for _ in range(_RUNS))
    one = statistics.median(timed.times)
    asked = test_ns()
    print(f"loop, an event: {event:.0f} ns")
    print(
        f"accounting of a measured event: {one / 1000:.0f} us, 1 in {EVERY} is measured: {one / EVERY:.0f} ns an event"
    )
    print(f"asking whether to measure: {asked:.0f} ns; in all {one / EVERY + asked:.0f} ns an event")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
