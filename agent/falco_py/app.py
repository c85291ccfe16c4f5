# SPDX-License-Identifier: Apache-2.0
"""The agent's life: rules and configuration in, capture on, loop, orderly end. Wiring and nothing else.

Invariant: nothing is attached to the kernel before the rules are known to be good.
"""

from __future__ import annotations

import os
import platform
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

from . import __version__
from .background import Background
from .capturing import Capturing, begun
from .engine.signals import Signals
from .log import log
from .prepared import announce, load_rules, prepare, set_up_log, wanted_events
from .running import Running

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from .config import Config
    from .kernel.loading import Loading
    from .prepared import Input, Prepared


def run(
    read: Callable[[], Input],
    *,
    stop_after_s: float | None = None,
    dry_run: bool = False,
    remarks: Sequence[str] = (),
) -> int:
    """Runs the agent until a signal, or for `stop_after_s` seconds. Returns the exit code.

    `read` gives what is to run, now and at each reload; `remarks` are warnings for the log. Raises what `read` raises,
    prepared.RulesFileError, rules.RulesError and config.problem.SettingError (the input is wrong), and
    kernel.host.HostError (the machine cannot).
    """
    with Signals() as signals, closing(Background()) as background:
        first = read()
        set_up_log(first.config)
        log.info(f"Falco-py version: {__version__} ({platform.machine()})")
        announce(first)
        for remark in remarks:
            log.warning(remark)
        if dry_run:
            prepared = prepare(first, {}, background)
            log.info(f"{len(prepared.bundle.rules)} rules loaded; dry run, nothing is captured")
            return 0
        with begun() as loading, closing(Running(read, background)) as running:
            return _run(running, running.prepared(first), signals, stop_after_s, loading)


def _run(
    running: Running, first: Prepared, signals: Signals, stop_after_s: float | None, loading: Loading | None
) -> int:
    pods = running.cluster
    with closing(Capturing(first.bundle, running.emit, loading, pods)) as capturing, _status(running.snapshot):
        running.begin(capturing, first, signals)
        capturing.start()
        running.started()
        try:
            counters = capturing.run(stop_after_s)
        finally:
            running.stopped()
        running.summary(counters)
    return running.exit_code


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
    from .kernel.learning import Learner
    from .kernel.pushdown import everything
    from .trials.record import Recorder, read_by

    bundle = load_rules(config, rule_files)
    recorder = Recorder(read_by(bundle.rules), write, most)
    chosen = types or bundle.event_types
    if rule is not None:
        chosen = chosen & next((one.event_types for one in bundle.rules if one.name == rule), frozenset())
    matchers = {name: recorder.matcher(bundle.matchers.get(name), firing) for name in chosen}
    watched = replace(bundle, matchers=matchers, event_types=frozenset(matchers))
    plan = everything()
    with Signals() as signals, closing(Capturing(watched, lambda _rule, _alert: None)) as capturing:
        loop = capturing.loop
        recorder.full = loop.end
        capturing.table.whole_env = not bundle.uses.isdisjoint(("proc.env", "proc.aenv"))
        monitor = DropMonitor(Drops(threshold=0, actions=("log",), rate=1), (), lambda _: None)
        loop.duties += [Guard(capturing.reader, monitor), lambda: loop.end() if signals.end else None]
        signals.wake = capturing.reader.wake
        capturing.ask(wanted_events(watched), plan)
        learner = Learner(plan, capturing.capture)
        loop.wasted, capturing.table.changed = learner.wasted, learner.forget
        capturing.start()
        capturing.run(stop_after_s)
    return recorder.count
