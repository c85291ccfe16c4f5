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
from .engine.overlay import Mount
from .engine.quiet import Quiet
from .engine.reload import Reloader
from .engine.shedding import Governor
from .engine.stats import Stats, drop_summary
from .engine.watching import Watcher, fingerprint
from .fields.k8s import OF_THE_API
from .kernel.accounts import Accounts
from .kernel.learning import Learner
from .log import log
from .outputs.hub import Hub
from .outputs.item import Item
from .outputs.lines import write_text
from .prepared import announce, prepare, set_up_log, told, watched_rules
from .reports import Reports
from .rules.priority import Priority
from .ruleset import mistake
from .state import clock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from .background import Background
    from .capturing import Capturing
    from .config import Config
    from .engine.alert import Alert
    from .engine.overlay import Overlay
    from .engine.signals import Signals
    from .engine.watching import Fingerprint
    from .kernel.load import Counters, Staged
    from .kube.cluster import Cluster
    from .kube.link import Link
    from .prepared import Input, Prepared
    from .rules.bundle import Rule

FILE_CHANGED: Final = "a file changed"
CONFIGMAP_CHANGED: Final = "the ConfigMap of the rules changed"
RELOAD_FAILED: Final = "Falco internal: hot restart failure"
LEFT_OUT: Final = "Falco internal: rules file left out"
GOES_ON: Final = "what ran before goes on"
SECOND_S: Final = 1.0
OLD_LINK: Final = "kubernetes: what it says now counts when the agent starts again; all else counts"
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
        self._watcher = Watcher(lambda: self.reloader.ask(FILE_CHANGED), self._seen)
        self._reported = False  # on the ConfigMap, that rules are not in use
        self.refusal = ""  # why the last reload was refused, in a line
        self._tried: Fingerprint | None = None  # what the last reload was to load
        self._refused: Fingerprint | None = None  # what was refused last, if nothing was taken since
        self.link: Link | None = None  # to the API server
        self._mount: Mount | None = None  # of the ConfigMap of the rules
        self.old_link = False  # `kubernetes` in falco.yaml is another since
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
        """What to begin with. Raises as prepared.prepare."""
        self._make_link(read.config)
        skip = read.config.broken_rules_files == "skip"
        return prepare(read, {}, self._background, self._on_stdout_gone, skip_broken=skip)

    def _make_link(self, config: Config) -> None:
        settings = config.kubernetes
        if settings is None:
            return
        from .kube.link import Link

        self.link = link = Link(settings, self._background, self._wake, lambda: self.reloader.ask(CONFIGMAP_CHANGED))
        if link.rules is not None:
            self._mount = Mount(settings.rules_directory, link.texts, link.connected)

    @property
    def cluster(self) -> Cluster | None:
        """From `prepared` on, where pods are watched."""
        link = self.link
        return link.cluster if link is not None and link.settings.pods else None

    def begin(self, capturing: Capturing, first: Prepared, signals: Signals) -> None:
        """Everything but the start of the capture. Raises kernel.host.HostError."""
        self.now, self.capturing, self._signals = first, capturing, signals
        config, loop = first.config, capturing.loop
        if self.link is not None:
            self.link.start()
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
        first = self.now
        self._take_reports(first)
        if first.config.watch_config_files:
            self._watcher.follow(first.input.watched, first.seen)
        log.info(f"Rules generation 0, digest {first.rules_digest}")
        self._tell_left_out(first)
        service.notify("READY=1", f"STATUS={len(first.bundle.rules)} rules")

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

    def close(self) -> None:
        """After all else, also when the capture could not begin."""
        if self.link is not None:
            self.link.close()

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

    def _overlay(self) -> Overlay | None:
        return None if self._mount is None else self._mount.now()

    def _seen(self, paths: Iterable[str]) -> Fingerprint:
        return fingerprint(paths, self._overlay())

    def _prepare_again(self, why: str) -> _Next | None:
        """In the reloader's thread."""
        before = self.now
        overlay = self._overlay()
        seen = self._tried = fingerprint(before.input.watched, overlay)
        in_use = before.seen if self._refused is None else self._refused
        if why in (FILE_CHANGED, CONFIGMAP_CHANGED) and seen == in_use:
            log.debug(f"{why}: to what is in use, or was refused")  # by a signal, or over the API server
            return None
        log.info(f"{why}, reloading...")
        service.notify(service.reloading())
        read = self._with_this_link(self._read()).under(overlay)
        if read.config.webserver is not None:
            import_module(".web.server", __package__)  # takes a while: here rather than between two events
        seen_or_new = seen if read.watched == before.input.watched else None
        return self._staged(prepare(read, before.settings, self._background, self._on_stdout_gone, seen_or_new))

    def _with_this_link(self, read: Input) -> Input:
        """`kubernetes` counts as it was at the start: what holds pods and rules together is made once."""
        settings = None if self.link is None else self.link.settings
        self.old_link = read.config.kubernetes != settings
        if not self.old_link:
            return read
        log.warning(OLD_LINK)
        return replace(read, config=replace(read.config, kubernetes=settings))

    def _adopt(self, following: _Next) -> None:
        new, capture = following.prepared, self.capturing.capture
        mended, self._reported = self._reported, False
        following.accounts.go_on_from(self.accounts)
        capture.want(self.now.wanted | new.wanted)
        self._take_rules(following)
        capture.want(new.wanted)
        self._take_settings(new)
        self._take_reports(new)
        announce(new.input)
        if new.config.watch_config_files:
            self._watcher.follow(new.input.watched, new.seen)
        self.refusal, self._refused = "", None
        generation = f"rules generation {self.reloader.done + 1}, digest {new.rules_digest}"
        count = f"{len(new.bundle.rules)} rules"
        log.info(f"Reloaded: {count} on {len(new.bundle.event_types)} event types, {generation}")
        if mended and self.link is not None and self.link.reporter is not None:
            self.link.reporter.loaded(f"{count}, {generation}")
        service.notify("READY=1", f"STATUS={count}")

    def _refuse(self, error: Exception) -> None:
        from .fields import catalogue
        from .rules.problems import RulesError

        catalogue.set_static(dict(self.now.config.static_fields))
        reason = "\n".join(filter(None, told(error) or (f"{type(error).__name__}: {error}",)))
        for line in reason.split("\n"):
            log.error(line)
        log.error(f"Not reloaded: {GOES_ON}")
        service.notify("READY=1")
        self.refusal, self._refused = mistake(error).line(), self._tried
        self._alert(RELOAD_FAILED, GOES_ON, reason)
        if isinstance(error, RulesError):  # of falco.yaml nothing is told on the ConfigMap of the rules
            self._report(self.refusal, GOES_ON)

    def _tell_left_out(self, first: Prepared) -> None:
        for one in first.left_out:
            end = f"{one.file} is left out, the other rules files are in use"
            self._alert(LEFT_OUT, end, one.details)
        if first.left_out:
            count = len(first.left_out)
            files = f"{count} rules file{'s are' if count > 1 else ' is'} left out, the others are in use"
            self._report(first.left_out[0].mistake.line(), files)

    def _alert(self, name: str, what: str, reason: str) -> None:
        now_ns = clock.now_boot_ns() + clock.boot_to_epoch_ns()
        fields = {"reason": reason}
        self.tell(InternalAlert(name, Priority.CRITICAL, "internal", (), now_ns, f"{name}: {what}", fields))

    def _report(self, what: str, end: str) -> None:
        if self.link is not None and self.link.reporter is not None:
            self._reported = True
            self.link.reporter.refused(what, end)

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
        self.capturing.table.facts.want_pods(not new.bundle.uses.isdisjoint(OF_THE_API))
        self._monitor.watch(watched_rules(new.bundle))
        if self.link is not None:
            self.link.cluster.want(new.bundle.uses)

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
        self.capturing.table.facts.wait_s = config.facts_wait_ms / 1000
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
