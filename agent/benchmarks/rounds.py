# SPDX-License-Identifier: Apache-2.0
"""Rounds over all settings, each with all loads: samples for the table.

Each round begins with another setting, so that no setting always has the same neighbours in time. An agent is started
for each round and setting; its counters are read before and after each load.
"""

from __future__ import annotations

import sys
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from . import programs
from .children import Agent
from .table import Sample

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from .children import Children
    from .loads import Load
    from .settings import Setting

_TIMED_SHARE = 0.3  # of a loop's turns, when BPF programs are timed


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def turned(settings: Sequence[Setting], number: int) -> list[Setting]:
    at = number % len(settings)
    return [*settings[at:], *settings[:at]]


class Rounds:
    """`samples`: by (load, setting), a sample each round. `disturbed`: names of others' programs that traced the
    machine, `looks` how often that was looked for and `disturbed_looks` how often there was one.
    """

    def __init__(
        self, children: Children, scratch: Path, settings: Sequence[Setting], loads: Sequence[Load],
        empty: programs.Empty | None,
    ) -> None:  # fmt: skip
        self._children = children
        self._scratch = scratch
        self._settings = settings
        self.loads = loads
        self._empty = empty
        self.samples: dict[tuple[str, str], list[Sample]] = {
            (load.name, setting.name): [] for load in loads for setting in settings
        }
        self.disturbed: set[str] = set()
        self.disturbed_looks = 0
        self.looks = 0

    def run(self, count: int) -> None:
        for number in range(count):
            for setting in turned(self._settings, number):
                say(f"round {number + 1} of {count}: {setting.name}")
                self._round(setting)

    def _round(self, setting: Setting) -> None:
        with ExitStack() as stack:
            agent = None
            if setting.options is not None:
                agent = stack.enter_context(Agent(self._children, setting.options, self._scratch))
            own = programs.ids_of(agent.pid) if agent else frozenset[int]()
            self._look(own)
            taken = [(load, self._sample(load, agent)) for load in self.loads]
            self._look(own)
            with self._timed() as empty:
                for load, sample in taken:
                    if load.loop:
                        self._time(load, sample, own, empty)
                    self.samples[load.name, setting.name].append(sample)

    def _look(self, own: frozenset[int]) -> None:
        found = programs.foreign(own)
        self.looks += 1
        self.disturbed_looks += bool(found)
        self.disturbed |= set(found)

    def _sample(self, load: Load, agent: Agent | None) -> Sample:
        if agent is None:
            return Sample(load.measure())
        agent.forget_peak()
        before = agent.counters()
        cpu_s = agent.cpu_s()
        ns = load.measure()
        agent.settle()
        used_s = agent.cpu_s() - cpu_s
        after = agent.counters()
        return Sample(
            ns, used_s, after["records"] - before["records"], after["dropped"] - before["dropped"],
            agent.memory_mb("VmHWM"),
        )  # fmt: skip

    @contextmanager
    def _timed(self) -> Iterator[frozenset[int]]:
        with ExitStack() as stack:
            empty = stack.enter_context(self._empty.attached()) if self._empty else frozenset[int]()
            stack.enter_context(programs.timed())
            yield empty

    def _time(self, load: Load, sample: Sample, own: frozenset[int], empty: frozenset[int]) -> None:
        """Other processes' calls are in it too; a loop makes far more."""
        turns = max(1, int(load.turns * _TIMED_SHARE))
        before, before_empty = programs.run_of(own), programs.run_of(empty)
        load.run(turns)
        made = turns + turns // 20  # with those before the count
        if own:
            sample.bpf_ns = (programs.run_of(own).time_ns - before.time_ns) / made
        if empty:
            sample.empty_ns = (programs.run_of(empty).time_ns - before_empty.time_ns) / made
