# SPDX-License-Identifier: Apache-2.0
"""Records become alerts: decode, keep the process table, test the rules, format, hand over.

One thread runs this. Invariant: a failure on one event is counted and told once for each event type, and the next event
goes on; nothing here waits for an output.
"""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING, Any, Protocol

from ..events.event import Event
from ..events.record import (
    FLAG_COMPAT,
    KIND_EXEC,
    KIND_EXIT,
    KIND_FORK,
    KIND_STATE,
    KIND_SYSCALL,
    decode_exec,
    decode_exit,
    decode_fork,
    decode_state,
)
from ..events.sockets import SocketNames
from ..events.syscalls import ROWS
from ..fields.container import MISSING, container_missing
from ..log import log
from ..state import clock
from .alert import Alert
from .holding import Holding

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..events.record import Header
    from ..rules.bundle import Bundle, Rule
    from ..state.processes import ProcessTable

DRAIN_PAUSE_S = 0.01  # wake-ups cost more than records: after a batch let some gather,
PAUSE_STEP_S, LONGEST_PAUSE_S = 0.002, 0.03  # and more from batch to batch while they keep coming
IDLE_WAIT_S = 1.0
LEAST_WAIT_S = 0.002  # while events wait for facts
HOUSEKEEPING_NS = 1_000_000_000
_AFTER_FAILURE = 1 << 16  # events without a measurement when one failed
OF_CONTAINERS = ("container.", "k8s")
_PENDING_BYTES, _MANY = 1 << 20, 512  # more than this is waiting, or so many records came at once: no pause


class Source(Protocol):
    """Where records come from; `kernel.reader.Reader` is the real one. `native`, `compat`: evt.type by call number."""

    native: dict[int, str]
    compat: dict[int, str]

    def batch(self) -> list[tuple[Header, bytes]]: ...
    def wait(self, timeout_s: float) -> None: ...
    def backlog(self) -> int: ...


class Loop:
    """Reads until `stop` is set.

    `emit` gets each rule that matched and its alert, `wasted` each system call that none matched. `events` counts what
    was tested, `failures` what could not be. `measure` gets an event now and then, with the nanoseconds that its test
    took, and says how many events later the next is to be.
    """

    def __init__(
        self,
        source: Source,
        bundle: Bundle,
        table: ProcessTable,
        emit: Callable[[Rule, Alert], None],
        wasted: Callable[[Event], None] | None = None,
    ) -> None:
        self.source = source
        self.bundle = bundle
        self.table = table
        self.emit = emit
        self.wasted = wasted
        self.narrow: Callable[[str, bytes, Any], Any] | None = None  # see Narrowing.matcher
        self.duties: list[Callable[[], None]] = []  # called at each turn, between two batches
        self.idle_wait_s = IDLE_WAIT_S
        self.held = Holding()
        self.stop = False
        self.events = 0
        self.records = 0
        self.failures = 0
        self._failed_types: set[str] = set()
        self._socket_names = SocketNames()
        self._next_housekeeping = 0
        self._next_measured = sys.maxsize
        self._measure: Callable[[Event, int], int] | None = None
        self._proc = os.path.join(os.environ.get("HOST_ROOT") or "/", "proc")

    def run(self, until: float | None = None) -> None:
        """Until `stop`, or until time.monotonic() reaches `until`."""
        pause_s = DRAIN_PAUSE_S
        while not self.stop:
            batch = self.source.batch()
            now = time.monotonic()
            if batch:
                self.handle(batch)
            else:
                self.table.look_again()
            if self.held:
                self._let_go(self.held.ready(self.table.facts))
            self._housekeep()
            for duty in self.duties:
                duty()
            if until is not None and now >= until:
                return
            if not batch:
                pause_s = DRAIN_PAUSE_S
                idle_s = self.idle_wait_s
                if self.held:
                    idle_s = min(idle_s, max(LEAST_WAIT_S, self.table.facts.next_try_s()))
                self.source.wait(idle_s if until is None else max(0.0, min(idle_s, until - now)))
            elif len(batch) < _MANY and self.source.backlog() < _PENDING_BYTES:
                time.sleep(pause_s)
                pause_s = min(pause_s + PAUSE_STEP_S, LONGEST_PAUSE_S)

    def end(self) -> None:
        self.stop = True

    def drain(self) -> None:
        """What is still in the rings, once, and what waits for facts."""
        self.handle(self.source.batch())
        self._let_go(self.held.rest(self.table.facts))

    def handle(self, batch: list[tuple[Header, bytes]]) -> None:
        """Handles records in the order of time."""
        matchers = self.bundle.matchers
        native, compat = self.source.native, self.source.compat
        table, narrow = self.table, self.narrow
        offset = clock.boot_to_epoch_ns()
        self.records += len(batch)
        table.look_again()
        without_facts = table.facts.waiting  # almost always empty
        for header, payload in batch:
            kind = header.kind
            life: Any = None
            if kind == KIND_SYSCALL:
                name = (compat if header.flags & FLAG_COMPAT else native).get(header.nr)
                process = None
            elif kind == KIND_EXEC:
                life = decode_exec(payload)
                if life is None:
                    self.failures += 1
                    continue
                process = table.on_exec(header, life)
                name = "execveat" if life.at else "execve"
            elif kind == KIND_EXIT:
                life = decode_exit(payload)
                process = None
                name = "procexit"
            else:
                if kind == KIND_FORK:
                    fork = decode_fork(payload)
                    if fork is not None:
                        table.on_fork(header, fork)
                elif kind == KIND_STATE:
                    table.on_state(header, decode_state(header, payload))
                continue
            matcher = matchers.get(name) if name is not None else None
            if matcher is not None and name is not None:
                self.events += 1
                event = Event(ROWS[name], header, payload, self.events, header.ts + offset)
                event.process = process if process is not None else table.get(header)
                event.table = table
                event.life = life
                event.socket_names = self._socket_names
                if without_facts and table.facts.is_worth_waiting(event.process.full_container_id):
                    self._hold(event)
                    if kind == KIND_EXIT:
                        table.on_exit(header, life)
                    continue
                if narrow is not None and kind == KIND_SYSCALL:
                    matcher = narrow(name, payload, matcher)
                if self.events < self._next_measured:
                    self._test(event, matcher)
                else:
                    self._measured(event, matcher)
            if kind == KIND_EXIT:
                table.on_exit(header, life)

    def _hold(self, event: Event) -> None:
        if event.cut:
            self._heal_path(event)
        self._let_go(self.held.hold(event))

    def _let_go(self, events: list[Event]) -> None:
        """Tests what has waited. The kernel learns nothing from it: the process may be another by now."""
        wasted, self.wasted = self.wasted, None
        for event in events:
            matcher = self.bundle.matchers.get(event.name)
            if matcher is not None:
                self._test(event, matcher)
        self.wasted = wasted

    def _test(self, event: Event, matcher: Any) -> None:
        """Every rule that matches under the resolved path, then those that match only under the path as passed."""
        try:
            if event.cut:
                self._heal_path(event)
            found = matcher(event)
            told = self._tell(event, found)
            if event.other_spelling():
                event.spelling = 1
                told += self._tell(event, matcher(event), told)
            if not told and self.wasted is not None and event.life is None:
                self.wasted(event)
        except Exception as error:  # noqa: BLE001 - one event must not end the run
            self.failures += 1
            if event.name not in self._failed_types:
                self._failed_types.add(event.name)
                log.error(
                    f"a rule on {event.name} failed ({type(error).__name__}: {error}); further failures are counted"
                )

    def measure_with(self, measure: Callable[[Event, int], int]) -> None:
        self._measure = measure
        self._next_measured = self.events

    def _measured(self, event: Event, matcher: Any) -> None:
        took = 0

        def timed(event: Event) -> Any:
            nonlocal took
            start = time.perf_counter_ns()
            found = matcher(event)
            took += time.perf_counter_ns() - start
            return found

        self._test(event, timed)
        distance = _AFTER_FAILURE
        try:
            if self._measure is not None:
                distance = self._measure(event, took)
        except Exception:  # noqa: BLE001 - figures must not end the run
            self.failures += 1
        self._next_measured = event.num + distance

    def _tell(self, event: Event, found: Any, told: list[int] | tuple[int, ...] = ()) -> list[int]:
        if found is None:
            return []
        rules = found if isinstance(found, tuple) else (found,)
        for rule in rules:
            if rule.index not in told:
                self.emit(rule, alert_of(rule, event))
        return [rule.index for rule in rules]

    def _heal_path(self, event: Event) -> None:
        """A path that the kernel program had to cut is read from /proc while the file is open; else it is marked."""
        fd = event.fd
        if fd is None or fd.name is None:
            return
        name = None
        if fd.num >= 0:
            try:
                link = f"{self._proc}/{event.header.pid}/fd/{fd.num}"
                status = os.stat(link)
                if status.st_ino == fd.ino:
                    name = os.readlink(link)
            except OSError:
                name = None
        whole = name is not None and name.startswith("/")
        event.replace_fd(fd._replace(name=name if whole else "..." + fd.name, truncated=not whole))

    def _housekeep(self) -> None:
        now = clock.now_boot_ns()
        if now < self._next_housekeeping:
            return
        self._next_housekeeping = now + HOUSEKEEPING_NS
        clock.refresh()
        self.table.purge(now)


def alert_of(rule: Rule, event: Event) -> Alert:
    message, fields = rule.format.format(event), rule.format.fields(event)
    if event.process.full_container_id:
        why = container_missing(event)
        told = [value for name, value in fields.items() if name.startswith(OF_CONTAINERS)] if why else ()
        if told:
            fields[MISSING] = why
            if None in told:
                message = f"{message} container_missing={why}"
    return Alert(
        rule=rule.name,
        priority=int(rule.priority),
        source=rule.source,
        tags=tuple(rule.tags),
        ts_ns=event.ts,
        message=message,
        fields=fields,
    )
