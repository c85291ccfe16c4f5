# SPDX-License-Identifier: Apache-2.0
"""One row for each metric: its names for Prometheus and in the snapshot, and how it is read out of a Reading.

Exposition, snapshot and docs/metrics.md are made from these rows. Invariant: names and labels in Falco's part are
Falco's; those that only this agent has begin with OURS.
"""

from __future__ import annotations

import os.path
from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple

from .names import key_part, tag_label

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from ..config.model import Metrics
    from ..events.counted import Counted
    from .reading import File, Program, Reading, Rule, Watch

OURS: Final = "falcosecurity_falco_py_"
LINK: Final = "https://falco.org/docs/metrics/"
_NS: Final = 1e9
_ENTER: Final = ("clone_fork", "execve", "connect", "open", "dir_file", "other_interest")
_CLASSES: Final = (*_ENTER, "close", "proc")
# The hooks of our programs by the names of Falco's programs on them.
_PROGRAMS: Final = {"falco_exec": "sched_p_exec", "falco_fork": "sched_p_fork", "falco_exit": "sched_proc_exit"}


class Kind(StrEnum):
    COUNTER = "counter"
    GAUGE = "gauge"
    INFO = "info"
    """A gauge that is always 1: its labels are the news."""


class Switch(StrEnum):
    """The key below `metrics` that turns a metric on; ALWAYS has none."""

    ALWAYS = ""
    RULES = "rules_counters_enabled"
    RESOURCES = "resource_utilization_enabled"
    STATE = "state_counters_enabled"
    KERNEL = "kernel_event_counters_enabled"
    PER_CPU = "kernel_event_counters_per_cpu_enabled"
    LIBBPF = "libbpf_stats_enabled"
    PLUGINS = "plugins_metrics_enabled"

    def on(self, settings: Metrics) -> bool:
        return self is Switch.ALWAYS or bool(getattr(settings, self.value))


class Unit(Enum):
    """How the snapshot tells it."""

    PLAIN = 0
    KIB = 1  # bytes; the key ends in `_mb`, or `_kb`
    BYTES = 2  # bytes; the key ends in `_mb`, or `_bytes`
    RATIO = 3  # the key ends in `_perc`


class Sample(NamedTuple):
    value: float
    labels: Mapping[str, str] = {}  # nobody writes to it


@dataclass(frozen=True, slots=True)
class Metric:
    """`name` for Prometheus and `key` of the snapshot; either may be empty: it is not told there.

    In both `{label}` stands for the value of a label, which is then none. `shown`: the label whose value the snapshot
    tells in place of the number.
    """

    name: str
    key: str
    kind: Kind
    switch: Switch
    about: str
    read: Callable[[Reading], Iterable[Sample]]
    labels: tuple[str, ...] = ()
    unit: Unit = Unit.PLAIN
    shown: str = ""
    note: str = ""  # ends the help text
    kept: bool = False  # in the snapshot when it is 0, too

    @property
    def ours(self) -> bool:
        return self.name.startswith(OURS)

    @property
    def help(self) -> str:
        return " ".join(part for part in (self.about, "" if self.ours else LINK, self.note) if part)

    def exposed(self, settings: Metrics, reading: Reading) -> Iterator[tuple[str, dict[str, str], float]]:
        """(name, labels, value) of all samples for Prometheus."""
        for value, labels in self.read(reading):
            if not value and not settings.include_empty_values and "rule_name" in labels:
                continue
            if "{" in self.name:
                yield self.name.format_map(labels), {}, value
            else:
                yield self.name, dict(labels), value

    def told(self, settings: Metrics, reading: Reading) -> Iterator[tuple[str, float | str]]:
        """(key, value) of all samples for the snapshot."""
        for value, labels in self.read(reading):
            key = self.key
            if "{" in key:
                key = key.format_map({name: key_part(text) for name, text in labels.items()})
            if self.shown:
                yield key, labels[self.shown]
            elif value or self.kept or settings.include_empty_values:
                yield self._in_unit(key, value, settings.convert_memory_to_mb)

    def _in_unit(self, key: str, value: float, in_mb: bool) -> tuple[str, float]:
        if self.unit is Unit.RATIO:
            return f"{key}_perc", round(value * 100, 1)
        if self.unit is Unit.PLAIN:
            return key, value
        if in_mb:
            return f"{key}_mb", round(value / (1 << 20), 1)
        return (f"{key}_kb", int(value) >> 10) if self.unit is Unit.KIB else (f"{key}_bytes", int(value))


# -- how figures are read -------------------------------------------------------------------------------------------


def _one(read: Callable[[Reading], float]) -> Callable[[Reading], Iterable[Sample]]:
    return lambda reading: (Sample(read(reading)),)


def _if(part: str, name: str) -> Callable[[Reading], Iterable[Sample]]:
    """A figure of a part that may not be there."""

    def read(reading: Reading) -> Iterable[Sample]:
        found = getattr(reading, part)
        return () if found is None else (Sample(getattr(found, name)),)

    return read


def _info(**labels: str) -> Callable[[Reading], Iterable[Sample]]:
    """Labels with the values of attributes."""
    return lambda reading: (Sample(1, {label: getattr(reading, name) for label, name in labels.items()}),)


def _files(part: str) -> Callable[[Reading], Iterable[Sample]]:
    def read(reading: Reading) -> Iterable[Sample]:
        files: Iterable[File] = getattr(reading, part)
        return [Sample(1, {"file_name": os.path.basename(file.path), "sha256": file.sha256}) for file in files]

    return read


def _matches(reading: Reading) -> Iterable[Sample]:
    for rule in reading.rules:
        labels = {"rule_name": rule.name, "priority": str(rule.priority), "source": rule.source}
        yield Sample(rule.matches, labels | {tag_label(tag): "true" for tag in sorted(rule.tags)})


def _by_rule(read: Callable[[Rule], float]) -> Callable[[Reading], Iterable[Sample]]:
    return lambda reading: [Sample(read(rule), {"rule_name": rule.name}) for rule in reading.rules]


def _kernel(read: Callable[[Counted], float]) -> Callable[[Reading], Iterable[Sample]]:
    return lambda reading: () if reading.kernel is None else (Sample(read(reading.kernel)),)


def lost(counted: Counted) -> int:
    """What found the ring full, and what was not asked for because too much was waiting."""
    return sum(counted.dropped.values()) + sum(counted.shed.values())


def happened(counted: Counted) -> int:
    return sum(counted.sent.values()) + lost(counted)


def _by_class(part: str, label: str = "class") -> Callable[[Reading], Iterable[Sample]]:
    def read(reading: Reading) -> Iterable[Sample]:
        counts: Mapping[str, int] = getattr(reading.kernel, part, {})
        return [Sample(count, {label: name}) for name, count in counts.items()]

    return read


def _buffer_drops(reading: Reading) -> Iterable[Sample]:
    if reading.kernel is None:
        return
    for name in _CLASSES:
        if name in _ENTER:
            yield Sample(0, {"dir": "enter", "drop": name})
        yield Sample(reading.kernel.dropped.get(name, 0), {"dir": "exit", "drop": name})


def _by_cpu(read: Callable[[Counted], int]) -> Callable[[Reading], Iterable[Sample]]:
    return lambda reading: [Sample(read(one), {"cpu": str(cpu)}) for cpu, one in enumerate(reading.by_cpu)]


def _counting(reading: Reading) -> Iterable[Program]:
    """The programs, when the kernel counts their runs."""
    return reading.programs if any(program.runs for program in reading.programs) else ()


def _falcos_name(program: Program) -> str:
    return _PROGRAMS.get(program.name) or key_part(program.name.removeprefix("falco_"))


def _by_falcos_program(read: Callable[[Program], int]) -> Callable[[Reading], Iterable[Sample]]:
    return lambda reading: [Sample(read(one), {"program": _falcos_name(one)}) for one in _counting(reading)]


def _by_program(read: Callable[[Program], float]) -> Callable[[Reading], Iterable[Sample]]:
    return lambda reading: [Sample(read(one), {"program": one.name}) for one in _counting(reading)]


def _by_output(name: str) -> Callable[[Reading], Iterable[Sample]]:
    return lambda reading: [Sample(int(getattr(one, name)), {"output": one.name}) for one in reading.outputs]


def _learnt(reading: Reading) -> Iterable[Sample]:
    if reading.learning is not None:
        yield Sample(reading.learning.names, {"kind": "names"})
        yield Sample(reading.learning.processes, {"kind": "processes"})


def _facts(name: str, label: str) -> Callable[[Reading], Iterable[Sample]]:
    """Counts of container facts by a word."""

    def samples(reading: Reading) -> Iterable[Sample]:
        if reading.container_facts is not None:
            for word, count in sorted(getattr(reading.container_facts, name).items()):
                yield Sample(count, {label: word})

    return samples


def _held(reading: Reading) -> Iterable[Sample]:
    if reading.held is not None:
        for end in ("known", "unknown", "crowded"):
            yield Sample(getattr(reading.held, end), {"end": end})


def _by_watch(read: Callable[[Watch], float]) -> Callable[[Reading], Iterable[Sample]]:
    return lambda reading: [Sample(read(one), {"kind": one.kind}) for one in _watches(reading)]


def _watches(reading: Reading) -> Iterable[Watch]:
    return () if reading.kubernetes is None else reading.kubernetes.watches


def _failed_watches(reading: Reading) -> Iterable[Sample]:
    for one in _watches(reading):
        for reason, count in sorted(one.failures.items()):
            yield Sample(count, {"kind": one.kind, "reason": reason})


def _containers(name: str) -> Callable[[Reading], Iterable[Sample]]:
    return lambda reading: () if reading.containers is None else (Sample(getattr(reading, name)),)


# -- the rows -------------------------------------------------------------------------------------------------------

_C, _G, _I = Kind.COUNTER, Kind.GAUGE, Kind.INFO
_A, _F = "falcosecurity_falco_", "falcosecurity_scap_"

FALCOS: Final[tuple[Metric, ...]] = (
    Metric(_A + "version_info", "falco.version", _I, Switch.ALWAYS, "Version of the agent.",
           _info(version="version"), ("version",), shown="version"),
    Metric(_A + "sha256_rules_files_info", "falco.sha256_rules_file.{file_name}", _I, Switch.ALWAYS,
           "Rules files in use.", _files("rules_files"), ("file_name", "sha256"), shown="sha256"),
    Metric(_A + "sha256_config_files_info", "falco.sha256_config_file.{file_name}", _I, Switch.ALWAYS,
           "Configuration files in use.", _files("config_files"), ("file_name", "sha256"), shown="sha256"),
    Metric(_A + "outputs_queue_num_drops_total", "falco.outputs_queue_num_drops", _C, Switch.ALWAYS,
           "Alerts lost because an output did not take them, of all outputs.",
           _one(lambda reading: sum(output.lost for output in reading.outputs)), kept=True),
    Metric(_A + "reload_timestamp_nanoseconds", "falco.reload_ts", _G, Switch.ALWAYS,
           "When the rules in use were loaded, since 1970.", _one(lambda reading: reading.reload_ns), kept=True),
    Metric(_A + "kernel_release_info", "falco.kernel_release", _I, Switch.ALWAYS, "The running kernel.",
           _info(kernel_release="kernel_release"), ("kernel_release",), shown="kernel_release"),
    Metric(_A + "start_timestamp_nanoseconds", "falco.start_ts", _G, Switch.ALWAYS,
           "When the agent started, since 1970.", _one(lambda reading: reading.start_ns), kept=True),
    Metric(_A + "host_boot_timestamp_nanoseconds", "falco.host_boot_ts", _G, Switch.ALWAYS,
           "When the machine started, since 1970.", _one(lambda reading: reading.boot_ns), kept=True),
    Metric(_A + "duration_seconds_total", "falco.duration_sec", _C, Switch.ALWAYS,
           "How long the agent has been running.",
           _one(lambda reading: max(0, reading.now_ns - reading.start_ns) // 1_000_000_000), kept=True),
    Metric(_A + "host_num_cpus_total", "falco.host_num_cpus", _G, Switch.ALWAYS, "CPUs of the machine.",
           _one(lambda reading: reading.cpus), kept=True),
    Metric("falcosecurity_evt_hostname_info", "evt.hostname", _I, Switch.ALWAYS,
           "Name of the machine, as alerts have it.",
           _info(hostname="hostname"), ("hostname",), shown="hostname"),
    Metric(_F + "engine_name_info", "scap.engine_name", _I, Switch.ALWAYS, "Where events come from.",
           _info(engine_name="engine", evt_source="source"), ("engine_name", "evt_source"), shown="engine_name"),

    Metric(_A + "rules_matches_total", "falco.rules.{rule_name}", _C, Switch.RULES,
           "Alerts by rule, of rules that had any.", _matches, ("rule_name", "priority", "source", "tag_*")),
    Metric("", "falco.rules.matches_total", _C, Switch.RULES, "Alerts of all rules.",
           _one(lambda reading: sum(rule.matches for rule in reading.rules))),

    Metric(_A + "cpu_usage_ratio", "falco.cpu_usage", _G, Switch.RESOURCES,
           "CPU that the agent used since its start, of one CPU.", _if("resources", "cpu_ratio"), unit=Unit.RATIO),
    Metric(_A + "memory_rss_bytes", "falco.memory_rss", _G, Switch.RESOURCES, "Resident memory of the agent.",
           _if("resources", "rss_bytes"), unit=Unit.KIB),
    Metric(_A + "memory_vsz_bytes", "falco.memory_vsz", _G, Switch.RESOURCES, "Address space of the agent.",
           _if("resources", "vsz_bytes"), unit=Unit.KIB),
    Metric(_A + "memory_pss_bytes", "falco.memory_pss", _G, Switch.RESOURCES,
           "Resident memory of the agent, with its share of what others use too.",
           _if("resources", "pss_bytes"), unit=Unit.KIB),
    Metric(_A + "container_memory_used_bytes", "falco.container_memory_used", _G, Switch.RESOURCES,
           "Memory of the agent's container, as its control group says; 0 on a host.",
           _if("resources", "container_bytes"), unit=Unit.BYTES),
    Metric(_A + "host_cpu_usage_ratio", "falco.host_cpu_usage", _G, Switch.RESOURCES,
           "CPU that the machine used since its start, of all CPUs.",
           _if("resources", "host_cpu_ratio"), unit=Unit.RATIO),
    Metric(_A + "host_memory_used_bytes", "falco.host_memory_used", _G, Switch.RESOURCES,
           "Memory of the machine that is in use, without buffers and cache.",
           _if("resources", "host_used_bytes"), unit=Unit.KIB),
    Metric(_A + "host_procs_running_total", "falco.host_procs_running", _G, Switch.RESOURCES,
           "Threads of the machine that run or could run now.", _if("resources", "host_running")),
    Metric(_A + "host_open_fds_total", "falco.host_open_fds", _G, Switch.RESOURCES, "Open files of the machine.",
           _if("resources", "host_open_fds")),

    Metric(_F + "n_evts_total", "scap.n_evts", _C, Switch.KERNEL,
           "Events that the kernel told, or that were lost; what no rule could match is not counted.",
           _kernel(happened), kept=True),
    Metric(_F + "n_drops_total", "scap.n_drops", _C, Switch.KERNEL, "Events lost for any reason, shed ones too.",
           _kernel(lost), kept=True),
    Metric(_F + "n_drops_buffer_total", "scap.n_drops_buffer_{drop}_{dir}", _C, Switch.KERNEL,
           "Events lost because the ring was full, by class.", _buffer_drops, ("dir", "drop"),
           note="Deprecated: dir=\"enter\" is always 0, since the kernel tells of calls when they return."),
    Metric("", "scap.n_drops_buffer_total", _C, Switch.KERNEL, "Events lost because the ring was full.",
           _kernel(lambda counted: sum(counted.dropped.values()))),
    Metric(_F + "n_drops_scratch_map_total", "scap.n_drops_scratch_map", _C, Switch.KERNEL,
           "Events lost because the kernel program found no memory to work in.",
           _kernel(lambda counted: counted.errors.get("scratch", 0))),
    Metric(_F + "n_drops_page_faults_total", "scap.n_drops_page_faults", _C, Switch.KERNEL,
           "Always 0: an event is told without memory that cannot be read.", _kernel(lambda _: 0)),
    Metric(_F + "n_drops_bug_total", "scap.n_drops_bug", _C, Switch.KERNEL,
           "Always 0: no such errors are counted.", _kernel(lambda _: 0)),
    Metric(_F + "n_preemptions_total", "scap.n_preemptions", _C, Switch.KERNEL,
           "Always 0: programs are not interrupted by themselves.", _kernel(lambda _: 0)),

    Metric(_F + "n_evts_cpu_total", "scap.n_evts_cpu_{cpu}", _C, Switch.PER_CPU, "n_evts_total by CPU.",
           _by_cpu(happened), ("cpu",)),
    Metric(_F + "n_drops_cpu_total", "scap.n_drops_cpu_{cpu}", _C, Switch.PER_CPU, "n_drops_total by CPU.",
           _by_cpu(lost), ("cpu",)),

    Metric(_F + "{program}_run_cnt_total", "scap.{program}.run_cnt", _C, Switch.LIBBPF,
           "Runs of the kernel program on a hook, while the kernel counts them.",
           _by_falcos_program(lambda program: program.runs)),
    Metric(_F + "{program}_run_time_ns_total", "scap.{program}.run_time_ns", _C, Switch.LIBBPF,
           "Time that the kernel program on a hook took.", _by_falcos_program(lambda program: program.run_time_ns)),
    Metric(_F + "{program}_avg_time_ns", "scap.{program}.avg_time_ns", _G, Switch.LIBBPF,
           "Time that the kernel program on a hook took, by run.",
           _by_falcos_program(lambda program: program.run_time_ns // max(1, program.runs))),

    Metric(_F + "n_threads_total", "falco.n_threads", _G, Switch.STATE,
           "Entries of the process table; one is a process, not a thread.", _if("processes", "entries")),
    Metric(_F + "n_added_threads_total", "falco.n_added_threads", _C, Switch.STATE,
           "Entries that came into the process table.",
           _if("processes", "added")),
    Metric(_F + "n_removed_threads_total", "falco.n_removed_threads", _C, Switch.STATE,
           "Entries that left the process table.",
           _if("processes", "removed")),
    Metric(_F + "n_noncached_thread_lookups_total", "falco.n_noncached_thread_lookups", _C, Switch.STATE,
           "Processes that were not in the table and were read from /proc.", _if("processes", "healed")),
    Metric(_F + "n_failed_thread_lookups_total", "falco.n_failed_thread_lookups", _C, Switch.STATE,
           "Processes that were not in the table and had ended.", _if("processes", "minimal")),
    Metric(_F + "n_drops_full_threadtable_total", "falco.n_drops_full_threadtable", _C, Switch.STATE,
           "Living processes that left the process table because it was full.", _if("processes", "full")),

    Metric("falcosecurity_plugins_container_n_containers_total", "plugins.container.n_containers", _G, Switch.PLUGINS,
           "Containers that are known.", _containers("containers")),
    Metric("falcosecurity_plugins_container_n_missing_total", "plugins.container.n_missing", _G, Switch.PLUGINS,
           "Containers of which the image is not known.", _containers("containers_missing")),
)  # fmt: skip

OWN: Final[tuple[Metric, ...]] = (
    Metric(OURS + "rules", "falco_py.rules_loaded", _G, Switch.ALWAYS, "Rules in use.",
           _one(lambda reading: len(reading.rules)), kept=True),
    Metric(OURS + "events_tested_total", "", _C, Switch.ALWAYS, "Events that rules were tested on.",
           _one(lambda reading: reading.events)),
    Metric(OURS + "events_failed_total", "falco_py.events_failed", _C, Switch.ALWAYS,
           "Events that were not understood, or whose test failed.", _one(lambda reading: reading.failures)),
    Metric(OURS + "reload_generation", "falco_py.reload_generation", _G, Switch.ALWAYS,
           "How often rules and configuration were loaded anew since the start.",
           _one(lambda reading: reading.reload_generation)),
    Metric(OURS + "reload_failures_total", "falco_py.reload_failures", _C, Switch.ALWAYS,
           "Reloads that were refused because a file was wrong; what was in use stayed.",
           _one(lambda reading: reading.reload_failures)),
    Metric(OURS + "reload_refused", "falco_py.reload_refused", _G, Switch.ALWAYS,
           "1 while the last reload is one that was refused.", _one(lambda reading: reading.reload_refused)),
    Metric(OURS + "rules_digest_info", "falco_py.rules_digest", _I, Switch.ALWAYS,
           "Which rules are in use: the same digest over names and texts of rules files is the same rules.",
           _info(digest="rules_digest"), ("digest",), shown="digest"),
    Metric(OURS + "files_left_out", "falco_py.files_left_out", _G, Switch.ALWAYS,
           "Rules files that the agent started without because of a mistake in them.",
           _one(lambda reading: reading.rules_files_left_out)),
    Metric(OURS + "output_delivered_total", "falco_py.outputs.{output}.delivered", _C, Switch.ALWAYS,
           "Alerts that an output delivered.", _by_output("delivered"), ("output",)),
    Metric(OURS + "output_lost_total", "falco_py.outputs.{output}.lost", _C, Switch.ALWAYS,
           "Alerts that an output gave up because its queue was full, or at the end.", _by_output("lost"), ("output",)),
    Metric(OURS + "output_waiting", "falco_py.outputs.{output}.waiting", _G, Switch.ALWAYS,
           "Alerts in the queue of an output.", _by_output("waiting"), ("output",)),
    Metric(OURS + "output_failing", "falco_py.outputs.{output}.failing", _G, Switch.ALWAYS,
           "1 while an output cannot deliver.", _by_output("failing"), ("output",)),
    Metric(OURS + "spool_waiting", "falco_py.spool.waiting", _G, Switch.ALWAYS, "Alerts on the disk for http_output.",
           _if("spool", "waiting")),
    Metric(OURS + "spool_bytes", "falco_py.spool.bytes", _G, Switch.ALWAYS,
           "What the alerts on the disk for http_output take.",
           _if("spool", "bytes")),
    Metric(OURS + "spool_sent_total", "falco_py.spool.sent", _C, Switch.ALWAYS, "Alerts that the receiver took.",
           _if("spool", "sent")),
    Metric(OURS + "spool_refused_total", "falco_py.spool.refused", _C, Switch.ALWAYS,
           "Alerts that the receiver refused, and that were given up.", _if("spool", "refused")),
    Metric(OURS + "spool_retried_total", "falco_py.spool.retried", _C, Switch.ALWAYS,
           "Deliveries that were tried once more.", _if("spool", "retried")),
    Metric(OURS + "spool_given_up_total", "falco_py.spool.given_up", _C, Switch.ALWAYS,
           "Alerts that were taken and then thrown out for others.", _if("spool", "given_up")),
    Metric(OURS + "alerts_folded_total", "falco_py.alerts_folded", _C, Switch.ALWAYS,
           "Alerts that were counted as repeats.", _one(lambda reading: reading.folded)),
    Metric(OURS + "log_lost_total", "falco_py.log_lost", _C, Switch.ALWAYS,
           "Lines of the log that could not be written.",
           _one(lambda reading: reading.log_lost)),
    Metric(OURS + "snapshots_lost_total", "falco_py.snapshots_lost", _C, Switch.ALWAYS,
           "Lines of metrics.output_file that could not be written.", _one(lambda reading: reading.snapshots_lost)),
    Metric(OURS + "web_requests_total", "falco_py.web.requests", _C, Switch.ALWAYS, "Requests to the web server.",
           _if("web", "requests")),
    Metric(OURS + "web_dropped_total", "falco_py.web.dropped", _C, Switch.ALWAYS,
           "Connections to the web server that were closed because they were slow, or too many.",
           _if("web", "dropped")),
    Metric(OURS + "web_failures_total", "falco_py.web.failures", _C, Switch.ALWAYS,
           "Requests that the web server could not read or answer.", _if("web", "failures")),
    Metric(OURS + "kubernetes_connected", "falco_py.kubernetes.{kind}.connected", _G, Switch.ALWAYS,
           "1 while the API server tells of changes of a kind of objects.", _by_watch(lambda one: one.connected),
           ("kind",)),
    Metric(OURS + "kubernetes_synced", "falco_py.kubernetes.{kind}.synced", _G, Switch.ALWAYS,
           "1 when all objects of a kind were told once.", _by_watch(lambda one: one.synced), ("kind",)),
    Metric(OURS + "kubernetes_lists_total", "falco_py.kubernetes.{kind}.lists", _C, Switch.ALWAYS,
           "Requests for all objects of a kind.", _by_watch(lambda one: one.lists), ("kind",)),
    Metric(OURS + "kubernetes_watches_total", "falco_py.kubernetes.{kind}.watches", _C, Switch.ALWAYS,
           "Requests for the changes of a kind.", _by_watch(lambda one: one.watches), ("kind",)),
    Metric(OURS + "kubernetes_changes_total", "falco_py.kubernetes.{kind}.changes", _C, Switch.ALWAYS,
           "Changes of objects of a kind that the API server told.", _by_watch(lambda one: one.events), ("kind",)),
    Metric(OURS + "kubernetes_unreadable_total", "falco_py.kubernetes.{kind}.unreadable", _C, Switch.ALWAYS,
           "Objects that were not understood.", _by_watch(lambda one: one.unreadable), ("kind",)),
    Metric(OURS + "kubernetes_failures_total", "falco_py.kubernetes.{kind}.failed_{reason}", _C, Switch.ALWAYS,
           "Requests for objects of a kind that failed, and watches that broke, by reason.", _failed_watches,
           ("kind", "reason")),
    Metric(OURS + "kubernetes_events_written_total", "falco_py.kubernetes.events_written", _C, Switch.ALWAYS,
           "Kubernetes Events about the rules that were written.", _if("kubernetes", "events_written")),
    Metric(OURS + "kubernetes_events_failed_total", "falco_py.kubernetes.events_failed", _C, Switch.ALWAYS,
           "Kubernetes Events about the rules that could not be written.", _if("kubernetes", "events_failed")),

    Metric(OURS + "rule_delivered_total", "", _C, Switch.RULES,
           "Events that reached user space on account of a rule; estimated from samples.",
           _by_rule(lambda rule: rule.delivered), ("rule_name",)),
    Metric(OURS + "rule_test_seconds_total", "", _C, Switch.RULES,
           "Share of a rule in the time that testing took; estimated from samples.",
           _by_rule(lambda rule: rule.test_ns / _NS), ("rule_name",)),

    Metric(OURS + "kernel_events_total", "falco_py.kernel.events_{class}", _C, Switch.KERNEL,
           "Events that the kernel told, by class.", _by_class("sent"), ("class",)),
    Metric(OURS + "kernel_dropped_total", "falco_py.kernel.dropped_{class}", _C, Switch.KERNEL,
           "Events lost because the ring was full, by class.", _by_class("dropped"), ("class",)),
    Metric(OURS + "kernel_shed_total", "falco_py.kernel.shed_{class}", _C, Switch.KERNEL,
           "Events that only rules could match which were not asked because too much was waiting, by class.",
           _by_class("shed"), ("class",)),
    Metric(OURS + "kernel_errors_total", "falco_py.kernel.errors_{place}", _C, Switch.KERNEL,
           "Errors in the kernel programs, by place.", _by_class("errors", "place"), ("place",)),
    Metric(OURS + "ring_backlog_bytes", "falco_py.ring.backlog_bytes", _G, Switch.KERNEL,
           "What waits in the ring of system calls.", _one(lambda reading: reading.backlog_bytes)),
    Metric(OURS + "ring_capacity_bytes", "falco_py.ring.capacity_bytes", _G, Switch.KERNEL,
           "What the ring of system calls holds.", _one(lambda reading: reading.capacity_bytes)),
    Metric(OURS + "shedding_level", "falco_py.shedding_level", _G, Switch.KERNEL,
           "0: all rules are asked; each further level only the more severe.",
           _one(lambda reading: reading.shedding_level)),

    Metric(OURS + "program_runs_total", "", _C, Switch.LIBBPF,
           "Runs of a kernel program, while the kernel counts them.",
           _by_program(lambda program: program.runs), ("program",)),
    Metric(OURS + "program_run_seconds_total", "", _C, Switch.LIBBPF,
           "Time that a kernel program took.",
           _by_program(lambda program: program.run_time_ns / _NS), ("program",)),

    Metric(OURS + "processes", "", _G, Switch.STATE, "Entries of the process table.", _if("processes", "entries")),
    Metric(OURS + "processes_capacity", "falco_py.processes.capacity", _G, Switch.STATE,
           "Entries that the process table may have.",
           _if("processes", "capacity")),
    Metric(OURS + "processes_lost_exits_total", "falco_py.processes.lost_exits", _C, Switch.STATE,
           "Processes that had ended without being told of.", _if("processes", "lost_exits")),
    Metric(OURS + "container_lookups_total", "falco_py.containers.lookups", _C, Switch.STATE,
           "Times that a container was looked up in the files of its runtime.", _if("container_facts", "lookups")),
    Metric(OURS + "container_facts_late_total", "falco_py.containers.late", _C, Switch.STATE,
           "Facts of containers that came after the first process.", _if("container_facts", "late")),
    Metric(OURS + "containers_given_up_total", "falco_py.containers.given_up", _C, Switch.STATE,
           "Containers of which something was missing after half a minute.", _if("container_facts", "given_up")),
    Metric(OURS + "containers_forgotten_total", "falco_py.containers.forgotten", _C, Switch.STATE,
           "Containers whose facts were dropped because they had no processes.", _if("container_facts", "forgotten")),
    Metric(OURS + "containers_evicted_total", "falco_py.containers.evicted", _C, Switch.STATE,
           "Containers whose facts were dropped because there were too many.", _if("container_facts", "evicted")),
    Metric(OURS + "container_files_failed_total", "falco_py.containers.failed_{reason}", _C, Switch.STATE,
           "Files of container runtimes that were not understood.", _facts("failures", "reason"), ("reason",)),
    Metric(OURS + "container_facts_total", "falco_py.containers.by_{source}", _C, Switch.STATE,
           "Containers that became known, by where their facts came from: `files` of the runtime, the `api` server.",
           _facts("sources", "source"), ("source",)),
    Metric(OURS + "containers_unknown_total", "falco_py.containers.unknown_{reason}", _C, Switch.STATE,
           "Containers whose events waited for facts in vain, by what was missing.", _facts("unknown", "reason"),
           ("reason",)),
    Metric(OURS + "events_held_total", "falco_py.events_held.{end}", _C, Switch.STATE,
           "Events that waited for facts of their containers, by how it ended: facts `known`, `unknown` in time, or "
           "too many events (`crowded`).", _held, ("end",)),
    Metric(OURS + "learnt_total", "falco_py.learnt.{kind}", _C, Switch.STATE,
           "Entries for the kernel's filter that were learnt from events that no rule matched.", _learnt, ("kind",)),
    Metric(OURS + "learning_refused_total", "falco_py.learning_refused", _C, Switch.STATE,
           "Entries that were learnt and found the kernel's tables full.", _if("learning", "refused")),
    Metric(OURS + "narrowed_tests", "falco_py.narrowed_tests", _G, Switch.STATE,
           "Functions that were made to test a few rules only.", _if("learning", "narrowed")),
)  # fmt: skip

METRICS: Final[tuple[Metric, ...]] = FALCOS + OWN
