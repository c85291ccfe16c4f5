# SPDX-License-Identifier: Apache-2.0
"""What the agent knows of itself becomes metrics, health and versions, over the web server, alerts and a file.

Invariant: `reading` and `health` may be called from any thread and change nothing; what is not enabled is not imported.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from typing import TYPE_CHECKING, Any, Final, Protocol

from . import __version__
from .engine.alert import InternalAlert
from .log import log
from .rules.priority import Priority

if TYPE_CHECKING:
    from .background import Background
    from .capturing import Capturing
    from .config import Config, Metrics
    from .engine.narrowing import Narrowing
    from .engine.quiet import Quiet
    from .engine.reload import Reloader
    from .engine.stats import Stats
    from .kernel.accounts import Accounts
    from .kernel.learning import Learner
    from .kube.link import Link
    from .metrics.prometheus import Exposition
    from .metrics.reading import File, Reading, Spool
    from .metrics.reading import Kubernetes as KubernetesReading
    from .metrics.snapshot import MetricsFile, Snapshot
    from .outputs.hub import Hub
    from .outputs.output import Output
    from .prepared import Prepared
    from .web.server import Health, WebServer

UNREAD_S: Final = 10.0  # without a turn of the loop nobody reads the rings
MOST_LEFT_OUT: Final = 5  # rules files that health names
_BUILT_IN: Final = {"container": __version__}  # plugins of Falco whose fields are the agent's own


class Agent(Protocol):
    """What is read of the agent; running.Running is the real one."""

    stats: Stats
    hub: Hub
    reloader: Reloader[Any]
    now: Prepared
    capturing: Capturing
    quiet: Quiet
    accounts: Accounts
    learner: Learner
    narrowing: Narrowing
    link: Link | None
    old_link: bool
    refusal: str
    turned_s: float  # when the loop turned last, of time.monotonic()

    @property
    def folded(self) -> int: ...
    def tell(self, alert: InternalAlert) -> None: ...


class Reports:
    """Of one agent. `set_up` and `turn` are the loop's."""

    def __init__(self, running: Agent, background: Background) -> None:
        self.start_ns = time.time_ns()
        self._running = running
        self._background = background
        self._settings: Metrics | None = None
        self._snapshot: Snapshot | None = None
        self._file: MetricsFile | None = None
        self._exposition: Exposition | None = None
        self._server: WebServer | None = None
        self._next_s = 0.0

    @property
    def interval_s(self) -> float:
        """Between two snapshots; 0 when there are none."""
        told = self._settings is not None and (self._settings.output_rule or self._settings.output_file)
        return self._settings.interval_ms / 1000 if self._settings is not None and told else 0.0

    def set_up(self, config: Config) -> None:
        """Raises config.problem.SettingError."""
        changed = self._settings != config.metrics
        if changed:
            self._metrics(config.metrics)
        before = self._server
        if before is not None and not changed and before.settings == config.webserver:
            return
        self._server = self._made(config)
        if before is None:
            if self._server is not None:
                self._server.start()
        else:  # answers on their way get their time, which is not the events'
            threading.Thread(target=_follow, args=(before, self._server), name="web server", daemon=True).start()

    def _metrics(self, settings: Metrics | None) -> None:
        self._settings = settings
        self._snapshot = self._file = self._exposition = None
        if settings is None:
            return
        from .metrics.prometheus import Exposition
        from .metrics.snapshot import MetricsFile, Snapshot

        self._exposition = Exposition(settings)
        if self.interval_s:
            self._snapshot = Snapshot(settings)
            self._next_s = time.monotonic() + self.interval_s
            log.info(f"Setting metrics interval to {settings.interval}, equivalent to {settings.interval_ms} (ms)")
        if settings.output_file:
            self._file = MetricsFile(settings.output_file)

    def _made(self, config: Config) -> WebServer | None:
        if config.webserver is None:
            return None
        from .web.server import WebServer

        exposition = self._exposition
        metrics = None if exposition is None else lambda: exposition.text(self.reading())
        return WebServer(config.webserver, self._background, self.health, self.versions, metrics)

    def turn(self, now_s: float) -> None:
        """Tells a snapshot when it is time."""
        if self._snapshot is None or now_s < self._next_s:
            return
        self._next_s = max(self._next_s + self.interval_s, now_s)
        from .metrics.snapshot import MESSAGE, RULE

        reading = self.reading()
        fields = self._snapshot.fields(reading)
        if self._file is not None:
            self._file.append(self._snapshot.line(fields))
        if self._settings is not None and self._settings.output_rule:
            alert = InternalAlert(RULE, Priority.INFORMATIONAL, "internal", (), reading.now_ns, MESSAGE, fields)
            self._running.tell(alert)

    def close(self) -> None:
        if self._server is not None:
            self._server.close()

    # For any thread

    def health(self) -> Health:
        from .web.server import Health

        running = self._running
        unhealthy = []
        silent_s = time.monotonic() - running.turned_s
        if silent_s > UNREAD_S:
            unhealthy.append(f"nobody has read the kernel's events for {silent_s:.0f} s")
        if running.quiet.dead:
            unhealthy.append("the kernel does not tell events")
        if not running.now.bundle.rules:
            unhealthy.append("no rules are loaded")
        degraded = [f"{one.name} output fails" for one in running.hub.outputs.values() if one.problem or one.gone]
        if running.reloader.refused:
            degraded.append(f"the last reload was refused: {running.refusal}")
        degraded += [f"{one.file} is left out: {one.mistake.line()}" for one in running.now.left_out[:MOST_LEFT_OUT]]
        if running.link is not None and running.link.problem:
            degraded.append("the API server cannot be watched")
        if running.old_link:
            degraded.append("kubernetes in falco.yaml is another than at the start, which counts")
        return Health(tuple(unhealthy), tuple(degraded))

    def versions(self) -> dict[str, Any]:
        """The keys are Falco's but for the last two; libraries and drivers are the agent itself."""
        from .rules.collector import ENGINE_VERSION

        return {
            "falco_version": __version__,
            "libs_version": __version__,
            "plugin_api_version": "3.12.0",
            "driver_api_version": "8.0.0",
            "driver_schema_version": "4.0.0",
            "default_driver_version": __version__,
            "engine_version": str(ENGINE_VERSION[1]),
            "engine_version_semver": ".".join(map(str, ENGINE_VERSION)),
            "plugin_versions": _BUILT_IN,
            "rules_generation": self._running.reloader.done,
            "rules_digest": self._running.now.rules_digest,
        }

    def reading(self) -> Reading:
        from .metrics import host
        from .metrics import reading as made
        from .state import clock

        running = self._running
        now, capturing, accounts = running.now, running.capturing, running.accounts
        loop, capture, table = capturing.loop, capturing.capture, capturing.table
        root = os.environ.get("HOST_ROOT") or "/"
        matches = dict(running.stats.by_rule)
        counters = table.counters
        outputs = list(running.hub.outputs.values())
        containers, missing = table.containers()
        facts, held = table.facts.counters, loop.held.counters
        return made.Reading(
            version=__version__,
            start_ns=self.start_ns,
            reload_ns=running.reloader.at_ns,
            reload_generation=running.reloader.done,
            reload_failures=running.reloader.failed,
            reload_refused=running.reloader.refused,
            rules_digest=now.rules_digest,
            rules_files_left_out=len(now.left_out),
            boot_ns=clock.boot_to_epoch_ns(),
            cpus=os.cpu_count() or 1,
            hostname=os.environ.get("FALCO_HOSTNAME") or socket.gethostname(),
            kernel_release=os.uname().release,
            rules=[
                made.Rule(
                    rule.name,
                    int(rule.priority),
                    rule.source,
                    tuple(rule.tags),
                    matches.get(rule.name, 0),
                    accounts.delivered.get(rule.name, 0),
                    accounts.nanoseconds.get(rule.name, 0),
                )
                for rule in now.bundle.rules
            ],
            events=loop.events,
            failures=loop.failures,
            kernel=capture.counters(),
            by_cpu=capture.counters_by_cpu(),
            backlog_bytes=capturing.reader.backlog(),
            capacity_bytes=capturing.reader.capacity_bytes,
            shedding_level=capture.level(),
            processes=made.Processes(
                len(table), table.capacity, table.added, table.removed, counters.evicted, counters.healed,
                counters.minimal, counters.lost_exits,
            ),
            programs=capture.program_runs(),
            outputs=[
                made.Output(one.name, one.delivered, one.lost, one.waiting, bool(one.problem or one.gone))
                for one in outputs
            ],
            spool=next((spool for one in outputs if (spool := _spool(one)) is not None), None),
            folded=running.folded,
            rules_files=_files(running, running.now.input.rules_files),
            config_files=_files(running, running.now.config.files),
            containers=containers,
            containers_missing=missing,
            container_facts=made.Containers(
                facts.looked_up, facts.late, facts.given_up, facts.forgotten, facts.evicted, dict(table.facts.failures),
                dict(table.facts.sources), dict(table.facts.unknown),
            ),
            held=made.Held(held.held, held.known, held.unknown, held.crowded),
            learning=made.Learning(
                running.learner.learnt["names"], running.learner.learnt["processes"], running.learner.refused,
                running.narrowing.made,
            ),
            web=None if self._server is None else made.Web(
                self._server.requests, self._server.dropped, self._server.failures
            ),
            kubernetes=_kubernetes(running.link),
            resources=host.Host(root).resources(),
            interfaces=host.interfaces(),
            log_lost=log.lost + log.syslog_lost,
            snapshots_lost=0 if self._file is None else self._file.lost,
        )  # fmt: skip


def _follow(before: WebServer, server: WebServer | None) -> None:
    from .config.problem import SettingError

    before.close()
    try:
        if server is not None:
            server.start()
    except SettingError as error:  # the certificate was another a moment ago
        log.error(str(error))


def _kubernetes(link: Link | None) -> KubernetesReading | None:
    if link is None:
        return None
    from .metrics import reading as made

    reporter = link.reporter
    written, failed = (0, 0) if reporter is None else (reporter.written, reporter.failures)
    return made.Kubernetes([made.Watch(*state) for state in link.watches], written, failed)


def _files(running: Agent, names: Any) -> list[File]:
    from .metrics.reading import File

    digests = running.now.digests
    return [File(name, digests[name]) for name in names if name in digests]


def _spool(output: Output) -> Spool | None:
    if output.name != "http":
        return None
    from .metrics.reading import Spool
    from .outputs.http import Http

    assert isinstance(output, Http)
    return Spool(output.spool_waiting, output.spool_bytes, output.sent, output.refused, output.retried, output.given_up)
