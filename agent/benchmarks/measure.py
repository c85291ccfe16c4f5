# SPDX-License-Identifier: Apache-2.0
"""What measuring an event in many costs all of them: the measured ones by themselves, and the loop with and without."""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING

from falco_py.engine.loop import Loop
from falco_py.kernel.accounts import EVERY, WHOLE, Accounts
from falco_py.kernel.pushdown import Rule, plan
from falco_py.rules import bundle

from .match import EVENTS, made, processes

if TYPE_CHECKING:
    from falco_py.events.record import Header
    from falco_py.state.processes import ProcessTable

_BATCH, _RUNS = 20_000, 15
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

    def dropped(self) -> int:
        return 0


def one_ns(accounts: Accounts, table: ProcessTable) -> float:
    """Of the accounting of an event that was tested."""
    name, head, payload = EVENTS["openat of a file below /etc, reading"]
    events = [made(table, name, head, payload) for _ in range(_BATCH)]
    for number, event in enumerate(events):
        event.num = WHOLE + 1 + number
    start = time.perf_counter_ns()
    for event in events:
        accounts.measure(event, 1000)
    return (time.perf_counter_ns() - start) / _BATCH


def loop_ns(loaded: bundle.Bundle, table: ProcessTable, accounts: Accounts | None) -> float:
    """The loop's time for an event; the least of several runs."""
    _, head, payload = EVENTS["openat of an ordinary file, reading"]
    loop = Loop(Records(), loaded, table, lambda _rule, _alert: None)
    loop.events = WHOLE
    if accounts is not None:
        loop.measure_with(accounts.measure)
    records = [(head, payload)] * _BATCH
    times = []
    for _ in range(_RUNS):
        start = time.perf_counter_ns()
        loop.handle(records)
        times.append((time.perf_counter_ns() - start) / _BATCH)
    return min(times)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.measure", description=__doc__)
    parser.add_argument("rules", nargs="+", type=Path, help="rules files, in order")
    options = parser.parse_args()
    loaded = bundle.load([(str(path), path.read_text()) for path in options.rules])
    filters = plan(Rule(rule.name, rule.event_types, rule.tree) for rule in loaded.rules)
    table = processes()
    accounts = Accounts(filters, loaded.rules)
    one = statistics.median(one_ns(accounts, table) for _ in range(5))
    print(
        f"accounting of a measured event: {one / 1000:.1f} us; 1 in {EVERY} is measured: {one / EVERY:.0f} ns an event"
    )
    without, measured = [], []
    for _ in range(6):  # in turns, so that what else the machine does meets both
        without.append(loop_ns(loaded, table, None))
        measured.append(loop_ns(loaded, table, accounts))
    print(f"loop, an event: {min(without):.0f} ns without, {min(measured):.0f} ns with")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
