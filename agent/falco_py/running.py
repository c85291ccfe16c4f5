# SPDX-License-Identifier: Apache-2.0
"""Events, signals and time become alerts, reloads and reports: what the agent does between its start and its end.

Everything here runs in the loop's thread, between two batches, but `snapshot` and `health`. Invariant: a reload changes
rules, settings and outputs between two batches, all or nothing; the process table stays.
"""

from __future__ import annotations

import os
import sys
import time
from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from . import service
from .engine.alert import InternalAlert
from .engine.drops import DropMonitor
from .engine.folding import Folding
from .engine.guard import Guard
from .engine.loop import IDLE_WAIT_S
from .engine.narrowing import Narrowing
from .engine.quiet import Quiet
from .engine.reload import Reloader
from .engine.shedding import Governor
from .engine.stats import Stats, drop_summary
from .engine.watching import Watcher, fingerprint
from .kernel.accounts import Accounts
from .kernel.learning import Learner
from .log import log
from .outputs.hub import Hub
from .outputs.item import Item
from .outputs.lines import write_text
from .prepared import announce, prepare, set_up_log, told, watched_rules
from .reports import Reports
from .rules.priority import Priority
from .state import clock

if TYPE_CHECKING:
    from collections.abc import Callable

    from .background import Background
    from .capturing import Capturing
    from .engine.alert import Alert
    from .engine.signals import Signals
    from .kernel.load import Counters, Staged
    from .prepared import Input, Prepared
    from .rules.bundle import Rule

FILE_CHANGED: Final = "a file changed"
RELOAD_FAILED: Final = "Falco internal: hot restart failure"
SECOND_S: Final = 1.0
STDOUT: Final = 1
SUMMARY_S: Final = 2.0  # for a reader of standard output that takes nothing


class _Next(NamedTuple):
    """What is to run next; its plan lies in the kernel."""

    prepared: Prepared
    staged: Staged
    accounts: Accounts
    learner: Learner


class Running:
    """`read` gives what is to run; `background` is for what waits for the network."""

    def __init__(self, read: Callable[[], Input], background: Background) -> None:
        self.stats = Stats()
        self.hub = Hub()
        self.exit_code = 0
        self._read = read
        self._background = background
        self.reloader = Reloader(self._prepare_again, self._adopt, self._refuse, self._wake)
        self._reports = Reports(self, background)
        self._watcher = Watcher(lambda: self.reloader.ask(FILE_CHANGED))
        self._folding: Folding | None = None
        self._folded = 0  # by those before
        self._watchdog_s = service.watchdog_s()
        self._next_second_s = self._next_watchdog_s = 0.0
        self.turned_s = 0.0  # when the loop turned last
        self._stdout_gone = False
        self._terminal = os.isatty(STDOUT)
        # Set by `begin`
        self.now: Prepared
        self.capturing: Capturing
        self.quiet: Quiet
        self.accounts: Accounts
        self.learner: Learner
        self.narrowing: Narrowing
        self._signals: Signals
        self._guard: Guard
        self._monitor: DropMonitor

    # The way of an alert

    def emit(self, rule: Rule, alert: Alert) -> None:
        self.stats.count(rule)
        if self._folding is None or not self._folding.is_repeat(alert, time.monotonic()):
            self.tell(alert)

    def tell(self, alert: Alert) -> None:
        self.hub.send(Item(alert, alert.line(self.now.config)))

    # Life

    def prepared(self, read: Input) -> Prepared:
        """Raises as prepared.prepare."""
        return prepare(read, {}, self._background, self._on_stdout_gone)

    def begin(self, capturing: Capturing, first: Prepared, signals: Signals) -> None:
        """Everything but the start of the capture. Raises kernel.host.HostError."""
        self.now, self.capturing, self._signals = first, capturing, signals
        config, loop = first.config, capturing.loop
        self._monitor = DropMonitor(config.drops, watched_rules(first.bundle), self.tell)
        governor = Governor(capturing.reader.capacity_bytes, config.cpu_limit_percent)
        self._guard = Guard(capturing.reader, self._monitor, governor, stop=loop.end)
        self.quiet = Quiet(config.max_quiet_s, self.tell)
        signals.wake = capturing.reader.wake
        capturing.capture.want(first.wanted)
        self._take_rules(self._staged(first))
        self._take_settings(first)
        loop.duties += [self._guard, self._turn]

    def started(self) -> None:
        """The capture tells events, and can wait in its rings while the web server comes up."""
        self.turned_s = time.monotonic()
        self._take_reports(self.now)
        if self.now.config.watch_config_files:
            self._watcher.follow(self.now.input.watched, self.now.seen)
        service.notify("READY=1", f"STATUS={len(self.now.bundle.rules)} rules")

    def stopped(self) -> None:
        """The capture has ended: what waits is delivered."""
        service.notify("STOPPING=1")
        self._watcher.close()
        self.reloader.close()
        self._reports.close()
        if self._folding is not None:
            for alert in self._folding.rest():
                self.tell(alert)
        self.hub.close()

    def summary(self, counters: Counters) -> None:
        loop, monitor = self.capturing.loop, self._monitor
        if not self._stdout_gone:
            write_text(sys.stdout.fileno(), self.stats.summary(), SUMMARY_S)
        lost = any(counters.dropped.values())
        lines = [drop_summary(max(monitor.occurrences, int(lost)), monitor.actions)]
        for what, counts in (("dropped", counters.dropped), ("shed", counters.shed)):
            by_class = ", ".join(f"{name} {count}" for name, count in counts.items())
            lines.append(f"   - {what} by class: {by_class}\n")
        lines.append(
            f"   - events told by the kernel: {counters.total_sent}, tested: {loop.events}, "
            f"not decoded or failed: {loop.failures}\n"
        )
        lines += [
            f"   - alerts lost on {output.name}: {output.lost}\n" for output in self.hub.outputs.values() if output.lost
        ]
        sys.stderr.write("".join(lines))
        self.exit_code = 1 if monitor.ended else 0

    # Between two batches

    def _turn(self) -> None:
        now_s = self.turned_s = time.monotonic()
        signals = self._signals
        if signals.end:
            self.capturing.loop.end()
        if signals.reopen:
            signals.reopen = False
            log.info("SIGUSR1 received, reopening outputs...")
            self.hub.reopen()
        if signals.reload:
            signals.reload = False
            if self._terminal and not os.isatty(STDOUT):
                self.capturing.loop.end()  # the terminal was closed
            else:
                self.reloader.ask("SIGHUP received")
        self.reloader.turn()
        self.narrowing.paused = self.reloader.busy
        if self._folding is not None:
            for alert in self._folding.due(now_s):
                self.tell(alert)
        self._reports.turn(now_s)
        if now_s >= self._next_second_s:
            self._next_second_s = now_s + SECOND_S
            self._each_second(now_s)
        self.hub.tell()

    def _each_second(self, now_s: float) -> None:
        self.quiet.check(now_s, clock.now_boot_ns() + clock.boot_to_epoch_ns(), self.capturing.loop.records)
        self.hub.watch(now_s)
        if self._watchdog_s and now_s >= self._next_watchdog_s:
            self._next_watchdog_s = now_s + self._watchdog_s
            service.notify("WATCHDOG=1")
        if self._stdout_gone and not self.hub.working():
            log.notice("the reader of standard output has gone, and there is no other output: the agent ends")
            self.capturing.loop.end()

    def _on_stdout_gone(self) -> None:
        self._stdout_gone = True
        self._next_second_s = 0.0
        self._wake()

    def _wake(self) -> None:
        self.capturing.reader.wake()

    # Reload

    def _staged(self, prepared: Prepared) -> _Next:
        """In any thread. Raises kernel.host.HostError."""
        capture = self.capturing.capture
        staged = capture.stage(prepared.plan)
        return _Next(prepared, staged, Accounts(prepared.plan, prepared.bundle.rules), Learner(prepared.plan, capture))

    def _prepare_again(self, why: str) -> _Next | None:
        """In the reloader's thread."""
        before = self.now
        seen = fingerprint(before.input.watched)
        if why == FILE_CHANGED and seen == before.seen:
            return None  # a signal was quicker
        log.info(f"{why}, reloading...")
        service.notify(service.reloading())
        read = self._read()
        if read.config.webserver is not None:
            import_module(".web.server", __package__)  # takes a while: here rather than between two events
        seen_or_new = seen if read.watched == before.input.watched else None
        return self._staged(prepare(read, before.settings, self._background, self._on_stdout_gone, seen_or_new))

    def _adopt(self, following: _Next) -> None:
        new, capture = following.prepared, self.capturing.capture
        following.accounts.go_on_from(self.accounts)
        capture.want(self.now.wanted | new.wanted)
        self._take_rules(following)
        capture.want(new.wanted)
        self._take_settings(new)
        self._take_reports(new)
        announce(new.input)
        if new.config.watch_config_files:
            self._watcher.follow(new.input.watched, new.seen)
        log.info(f"Reloaded: {len(new.bundle.rules)} rules on {len(new.bundle.event_types)} event types")
        service.notify("READY=1", f"STATUS={len(new.bundle.rules)} rules")

    def _refuse(self, error: Exception) -> None:
        from .fields import catalogue

        catalogue.set_static(dict(self.now.config.static_fields))
        reason = "\n".join(filter(None, told(error) or (f"{type(error).__name__}: {error}",)))
        for line in reason.split("\n"):
            log.error(line)
        log.error("Not reloaded: what ran before goes on")
        service.notify("READY=1")
        message = f"{RELOAD_FAILED}: what ran before goes on"
        now_ns = clock.now_boot_ns() + clock.boot_to_epoch_ns()
        fields = {"reason": reason}
        self.tell(InternalAlert(RELOAD_FAILED, Priority.CRITICAL, "internal", (), now_ns, message, fields))

    def _take_rules(self, following: _Next) -> None:
        """In the kernel and here, from one event to the next."""
        new, staged, accounts, learner = following
        loop = self.capturing.loop
        self.capturing.capture.flip(staged)
        accounts.generation = staged.generation
        accounts.tested = lambda: loop.events
        self.accounts, self.learner = accounts, learner
        self.narrowing = Narrowing(new.bundle, new.plan.rules_of, staged.generation)
        loop.bundle = new.bundle
        loop.wasted = self.learner.wasted
        self.capturing.table.changed = self.learner.forget
        loop.narrow = self.narrowing.matcher
        loop.measure_with(accounts.measure)
        asks_env = not new.bundle.uses.isdisjoint(("proc.env", "proc.aenv"))
        self.capturing.table.follow_environments(asks_env)
        self._monitor.watch(watched_rules(new.bundle))

    def _take_settings(self, new: Prepared) -> None:
        config = new.config
        set_up_log(config)
        folding = config.outputs.folding
        before = self._folding
        if before is not None and before.settings != folding:
            for alert in before.rest():
                self.tell(alert)
            self._folded += before.folded
            self._folding = before = None
        if before is None and folding.interval_s:
            self._folding = Folding(folding)
        self._monitor.set_up(config.drops)
        self._guard.limit(config.cpu_limit_percent)
        self.quiet.max_quiet_s = config.max_quiet_s
        self.hub.adopt(new.outputs, new.settings)
        self.now = replace(new, outputs={})  # the hub has them

    def _take_reports(self, new: Prepared) -> None:
        self._reports.set_up(new.config)
        interval_s = self._reports.interval_s
        self.capturing.loop.idle_wait_s = min(IDLE_WAIT_S, interval_s) if interval_s else IDLE_WAIT_S

    # For other threads

    @property
    def folded(self) -> int:
        """Alerts that were repeats of others."""
        return self._folded + (0 if self._folding is None else self._folding.folded)

    def snapshot(self) -> dict[str, Any]:
        """For `explain --cost`."""
        return self.accounts.snapshot(self.stats.by_rule)
