# SPDX-License-Identifier: Apache-2.0
"""Events that no rule matched become entries of the kernel's tables, so that the next of their kind stay there.

What a program, its arguments and its container are is tested once, here, with the conditions' own expressions; the
kernel keeps the answer for as long as the process stays what it is. Invariant: an entry never drops an event that the
rules would match; nothing is learnt that the event at hand did not show, and of a process in a container nothing while
facts of the container may come in a moment.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

from ..rules.bundle import Default
from ..rules.expressions import Writer
from .formulas import AllOf, Fact, Leaf
from .pushdown import EVERY_CLAUSE, VECTOR_BYTES, Asked, pack_vector

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..events.event import Event
    from ..state.process import Process
    from .formulas import Formula
    from .load import Capture
    from .pushdown import Plan

MAX_NAMES = 4096  # of threads that are learnt
MAX_LEARNT = 4  # entries for one image: its threads may have several names
_ENTRY = struct.Struct("=QQQ16sII")
ENTRY_BYTES = _ENTRY.size + VECTOR_BYTES


class Learner:
    """For one plan. `learnt` counts entries by kind, `refused` those that found a table full."""

    def __init__(self, plan: Plan, capture: Capture) -> None:
        self.capture = capture
        self.plan = plan
        self.learnt = {"names": 0, "processes": 0}
        self.refused = 0
        self._asks_name = bool(plan.asks[Fact.NAME])
        self._names: dict[bytes, int] = dict(plan.comms)
        self._left = compiled(plan) if plan.asks[Fact.PROCESS] else None

    def wasted(self, event: Event) -> None:
        """An event that no rule matched."""
        name = event.header.comm
        if self._asks_name and name not in self._names and len(self._names) < MAX_NAMES:
            bits = self._names[name] = self.plan.name_bits(name)
            if bits != self.plan.other_comm:
                self._count("names", self.capture.learn_name(name, bits))
        if self._left is not None:
            self._learn_process(event, self._left)

    def forget(self, process: Process) -> None:
        """What the entry of a process was made from is no longer so."""
        self.capture.forget_process(process.pid)

    def _name_bits(self, name: bytes) -> int:
        bits = self._names.get(name)
        return self.plan.name_bits(name) if bits is None else bits

    def _learn_process(self, event: Event, left: Callable[[Event], int]) -> None:
        process, header = event.process, event.header
        stamp = self.capture.generation, header.cgroup, header.comm
        last = process.learnt
        if last is not None:
            if last[0] != self.capture.generation:
                process.learnings = 0  # other rules
            elif last == stamp:
                return
        if process.learnings >= MAX_LEARNT or process.start != header.start or process.exec_id != header.exec_id:
            return
        if process.full_container_id and event.table.facts.is_awaited(process.full_container_id):
            return
        process.learnt = stamp
        process.learnings += 1
        if not process.exepath:
            return  # not known yet
        bits = left(event) & self._name_bits(header.comm)
        entry = _ENTRY.pack(
            header.start, header.exec_id, header.cgroup, header.comm, self.capture.generation, 0
        ) + pack_vector(bits)
        self._count("processes", self.capture.learn_process(header.pid, entry))

    def _count(self, kind: str, taken: bool) -> None:
        if taken:
            self.learnt[kind] += 1
        else:
            self.refused += 1


def compiled(plan: Plan, catalogue: Any = None) -> Callable[[Any], int]:
    """The clauses whose formulas over the process hold for an event, as a function; the others' bits are all set."""
    writer = Writer(catalogue or Default())
    lines = ["def left(e):", f"    bits = {EVERY_CLAUSE:#x}"]
    for formula, mask in Asked(plan.clauses, Fact.PROCESS).masks.items():
        lines += [f"    if not {_written(formula, writer)}:", f"        bits &= ~{mask:#x}"]
    lines.append("    return bits")
    scope: dict[str, Any] = dict(writer.names)
    exec("\n".join(lines), scope)
    made: Callable[[Any], int] = scope["left"]
    return made


def _written(formula: Formula, writer: Writer) -> str:
    if isinstance(formula, Leaf):
        text = f"({writer.check(formula.check)})"
        return text if formula.positive else f"(not {text})"
    word = " and " if isinstance(formula, AllOf) else " or "
    return "(" + word.join(_written(term, writer) for term in formula.terms) + ")"
