# SPDX-License-Identifier: Apache-2.0
"""The agent's life: rules and configuration in, capture on, loop, orderly end. Wiring and nothing else.

Invariant: nothing is attached to the kernel before the rules are known to be good, and whatever ends the run, programs
are detached.
"""

from __future__ import annotations

import os
import platform
import signal
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import __version__
from .engine.stats import Stats, drop_summary
from .log import log
from .outputs import Stdout

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import FrameType

    from .config import Config
    from .engine.alert import Alert
    from .engine.drops import DropMonitor, Watched
    from .engine.loop import Loop
    from .kernel.accounts import Accounts
    from .kernel.load import Counters
    from .kernel.loading import Loading
    from .kernel.pushdown import Plan
    from .kernel.reader import Reader
    from .rules.bundle import Bundle, Rule


class RulesFileError(Exception):
    """A rules file that cannot be read."""


def read_rules(paths: Sequence[str]) -> list[tuple[str, str]]:
    """(name, text) of each file. Raises RulesFileError with the reason and what to do."""
    files = []
    for path in paths:
        try:
            files.append((path, Path(path).read_text(encoding="utf-8", errors="surrogateescape")))
        except OSError as error:
            raise RulesFileError(
                f"{path}: cannot be read: {error.strerror}\n"
                "  What to do: check the path given with -r (or rules_files in falco.yaml) and its permissions."
            ) from error
    return files


def rules_options(config: Config) -> dict[str, Any]:
    """What the configuration says about loading rules. Makes the fields of `static_fields`."""
    from .fields import catalogue

    catalogue.set_static(dict(config.static_fields))
    return {
        "rule_matching": config.rule_matching,
        "extra_output": config.append_output,
        "selections": config.rules,
    }


def load_rules(config: Config, paths: Sequence[str]) -> Bundle:
    """Raises RulesFileError or rules.RulesError."""
    from .rules.bundle import load
    from .rules.priority import Priority

    files = read_rules(paths)
    log.info("Loading rules from:")
    for path in paths:
        log.info(f"   {path}")
    for selection in config.rules:
        log.info(str(selection))
    bundle = load(files, min_priority=Priority(config.priority), **rules_options(config))
    for warning in bundle.warnings:
        for line in str(warning).split("\n"):
            log.warning(line)
    if config.capture_enabled:
        _tell_of_captures(config, bundle)
    return bundle


def _tell_of_captures(config: Config, bundle: Bundle) -> None:
    """Whoever asked for captures must know that there are none, and for which rules."""
    asking = [rule.name for rule in bundle.rules if rule.capture]
    if config.capture_mode == "all_rules":
        log.warning("capture.mode is all_rules, but this build writes no captures: alerts come without them")
    elif asking:
        log.warning(f"{len(asking)} rules say 'capture: true', but this build writes no captures: alerts of these come "
                    f"without them: {', '.join(asking)}")  # fmt: skip


# Falco's default: I/O calls reach only the rules that name them, not those that run on every event.
IGNORED_IO = frozenset(
    ["pread", "preadv", "pwrite", "pwritev", "read", "readv", "recv", "send", "sendfile", "write", "writev"]
)
_EVERY_EVENT = 200  # a condition that allows more event types than this does not name them


def wanted_events(bundle: Bundle) -> frozenset[str]:
    """The event types that the kernel must tell for these rules."""
    wanted: set[str] = set()
    for rule in bundle.rules:
        types = rule.event_types
        wanted |= types - IGNORED_IO if len(types) > _EVERY_EVENT else types
    return frozenset(wanted) & bundle.event_types


def own_pid(root: str) -> int:
    """The agent's pid as the host numbers it: what a /proc of the host calls self."""
    try:
        return int(os.readlink(os.path.join(root, "proc/self")))
    except (OSError, ValueError):
        return os.getpid()


def run(config: Config, rule_files: Sequence[str], *, stop_after_s: float | None = None, dry_run: bool = False) -> int:
    """Runs the agent until a signal, or for `stop_after_s` seconds. Returns the exit code (0).

    Raises RulesFileError and rules.RulesError (the input is wrong), kernel.host.HostError (the machine cannot).
    """
    log.info(f"Falco-py version: {__version__} ({platform.machine()})")
    if dry_run:
        bundle = load_rules(config, rule_files)
        log.info(f"{len(bundle.rules)} rules loaded; dry run, nothing is captured")
        return 0
    with _begun() as loading:
        return _run(config, load_rules(config, rule_files), stop_after_s, loading)


def _run(config: Config, bundle: Bundle, stop_after_s: float | None, loading: Loading | None) -> int:
    from .engine.drops import DropMonitor
    from .engine.guard import Guard
    from .engine.shedding import Governor
    from .kernel.accounts import Accounts
    from .kernel.pushdown import Rule as Asked
    from .kernel.pushdown import plan
    from .kernel.widening import notice

    stats = Stats()
    out = Stdout(buffered=config.buffered_outputs)

    def emit(rule: Rule, alert: Alert) -> bool:
        stats.count(rule)
        if config.stdout_output_enabled:
            out.write(alert.line(config))
        return out.closed

    filters = plan(Asked(rule.name, rule.event_types, rule.tree, rule.priority) for rule in bundle.rules)
    if costly := filters.every_read:
        log.notice(
            f"{len(costly)} rules look at every file opened for reading, because their conditions name no path that "
            f"the kernel could compare: {', '.join(costly)}"
        )
    if widened := notice(filters.widened):
        log.notice(widened)
    accounts = Accounts(filters, bundle.rules)

    def tell(alert: Alert) -> None:
        if config.stdout_output_enabled:
            out.write(alert.line(config))

    monitor = DropMonitor(config.drops, watched_rules(bundle), tell)

    def made(loop: Loop, reader: Reader) -> None:
        governor = Governor(reader.capacity_bytes, config.cpu_limit_percent)
        loop.duties.append(Guard(reader, monitor, governor, stop=loop.end))

    with (
        _status(lambda: accounts.snapshot(stats.by_rule)),
        _watch(bundle, emit, filters, stop_after_s, made, accounts, loading) as (loop, counters),
    ):
        out.flush()
        _summary(stats, monitor, loop, counters, out)
    return 1 if monitor.ended else 0


def watched_rules(bundle: Bundle) -> list[Watched]:
    """What each rule may miss when events are lost."""
    from .engine.drops import Watched
    from .kernel.tables import classes_of

    return [Watched(rule.name, rule.priority, classes_of(rule.event_types)) for rule in bundle.rules]


@contextmanager
def _status(snapshot: Callable[[], dict[str, Any]]) -> Iterator[None]:
    """Answers `falco-py explain --cost`, where the socket can be made."""
    from .web.status import Status, socket_path

    path = socket_path()
    if not path:
        yield
        return
    with Status(path, lambda: {"version": __version__, "pid": os.getpid(), **snapshot()}) as status:
        if status.problem:
            log.notice(f"'falco-py explain --cost' is not answered on {path}: {status.problem}")
        yield


@contextmanager
def _begun() -> Iterator[Loading | None]:
    """Loads the BPF object while the block reads the rules; None where that cannot be: `_watch` tells why."""
    from .kernel import host
    from .kernel.loading import begin

    try:
        host.check()
        loading = begin()
    except host.HostError:
        yield None
        return
    try:
        yield loading
    finally:
        loading.close()


@contextmanager
def _watch(
    bundle: Bundle,
    emit: Callable[[Rule, Alert], bool],
    filters: Plan,
    stop_after_s: float | None,
    made: Callable[[Loop, Reader], None],
    accounts: Accounts | None = None,
    loading: Loading | None = None,
) -> Iterator[tuple[Loop, Counters]]:
    """Captures and tests events until a signal, the time, or `emit`, which gives True when it wants no more.

    The block runs when capture has ended; its memory is held until the block ends. `filters`: what the kernel may
    drop; `made` gets the loop and its reader before it runs, `accounts` what events cost; `loading` is the BPF object
    when it was begun. Raises kernel.host.HostError.
    """
    from .engine.loop import Loop
    from .engine.narrowing import Narrowing
    from .kernel import host
    from .kernel.learning import Learner
    from .kernel.load import Capture
    from .kernel.reader import Reader
    from .state.processes import ProcessTable
    from .state.users import Users

    host.check()
    root = os.environ.get("HOST_ROOT") or "/"
    log.info("Enabled event sources: syscall")
    log.info("Opening 'syscall' source with modern BPF probe.")
    capture = Capture(own_pid(root), loading)
    table = ProcessTable(root, Users(root))
    table.whole_env = not bundle.uses.isdisjoint(("proc.env", "proc.aenv"))
    table.keep_env = table.whole_env or accounts is None  # a recording writes all fields
    reader = Reader(capture)

    def tell(rule: Rule, alert: Alert) -> None:
        if emit(rule, alert):
            loop.stop = True

    learner = Learner(filters, capture)
    loop = Loop(reader, bundle, table, tell, learner.wasted)
    if accounts is not None:
        accounts.tested = lambda: loop.events
        loop.measure_with(accounts.measure)
    made(loop, reader)

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        loop.stop = True
        reader.wake()

    handlers = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        capture.want(wanted_events(bundle))
        capture.filter(filters)
        if accounts is not None:  # all rules of the plan are tested
            accounts.generation = capture.generation
            loop.narrow = Narrowing(bundle, filters.rules_of, capture.generation).matcher
        capture.attach()
        table.scan()
        log.info(
            f"Capture started: {len(bundle.rules)} rules on {len(bundle.event_types)} event types, "
            f"{len(table)} processes known"
        )
        loop.run(None if stop_after_s is None else time.monotonic() + stop_after_s)
        loop.drain()
        counters = capture.counters()
    finally:
        capture.detach()
        for number, handler in handlers.items():
            signal.signal(number, handler)
    try:
        yield loop, counters
    finally:
        reader.close()
        capture.close()


def record(
    config: Config,
    rule_files: Sequence[str],
    write: Callable[[str], None],
    *,
    rule: str | None = None,
    types: frozenset[str] = frozenset(),
    firing: bool = False,
    most: int = 1000,
    stop_after_s: float | None = None,
) -> int:
    """Writes the events that the rules look at, a line of JSON each, with the values of all fields; gives their number.

    `rule`: only those that this rule looks at; `types`: only these event types; `firing`: only those that a rule
    fires on. Ends after `most` events. Raises RulesFileError, rules.RulesError, kernel.host.HostError, and KeyError
    when there is no such rule.
    """
    from dataclasses import replace

    from .config import Drops
    from .engine.drops import DropMonitor
    from .engine.guard import Guard
    from .kernel.pushdown import everything
    from .trials.record import Recorder, read_by

    bundle = load_rules(config, rule_files)
    recorder = Recorder(read_by(bundle.rules), write, most)
    chosen = types or bundle.event_types
    if rule is not None:
        chosen = chosen & next((one.event_types for one in bundle.rules if one.name == rule), frozenset())
    matchers = {name: recorder.matcher(bundle.matchers.get(name), firing) for name in chosen}
    watched = replace(bundle, matchers=matchers, event_types=frozenset(matchers))

    def made(loop: Loop, reader: Reader) -> None:
        recorder.full = loop.end
        loop.duties.append(Guard(reader, DropMonitor(Drops(threshold=0, actions=("log",), rate=1), (), lambda _: None)))

    with _watch(watched, lambda _rule, _alert: False, everything(), stop_after_s, made):
        pass
    return recorder.count


def _summary(stats: Stats, monitor: DropMonitor, loop: Loop, counters: Counters, out: Stdout) -> None:
    if not out.closed:
        sys.stdout.write(stats.summary())
        sys.stdout.flush()
    lost = any(counters.dropped.values())
    sys.stderr.write(drop_summary(max(monitor.occurrences, int(lost)), monitor.actions))
    for what, counts in (("dropped", counters.dropped), ("shed", counters.shed)):
        by_class = ", ".join(f"{name} {count}" for name, count in counts.items())
        sys.stderr.write(f"   - {what} by class: {by_class}\n")
    sys.stderr.write(
        f"   - events told by the kernel: {counters.total_sent}, tested: {loop.events}, "
        f"not decoded or failed: {loop.failures}\n"
    )
    if out.lost:
        sys.stderr.write(f"   - alerts lost on stdout: {out.lost}\n")
