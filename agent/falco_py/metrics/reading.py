# SPDX-License-Identifier: Apache-2.0
"""All figures of one moment, as plain values: what the agent fills in and everything else of this package reads.

Invariant: nothing here counts by itself; counters are since the start of the agent and never go back.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..events.counted import Counted


class Program(Protocol):
    """A program in the kernel; kernel.bpf.ProgramRuns is the real one."""

    @property
    def name(self) -> str: ...
    @property
    def runs(self) -> int: ...
    @property
    def run_time_ns(self) -> int: ...


@dataclass(frozen=True, slots=True)
class KernelCounters:
    """A `Counted` of its own, for whoever has no kernel."""

    sent: Mapping[str, int] = field(default_factory=dict)
    dropped: Mapping[str, int] = field(default_factory=dict)
    shed: Mapping[str, int] = field(default_factory=dict)
    errors: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Rule:
    """`delivered`: events that reached user space on its account; `test_ns`: its share of what testing them took."""

    name: str
    priority: int  # 0 to 7
    source: str = "syscall"
    tags: tuple[str, ...] = ()
    matches: int = 0
    delivered: int = 0
    test_ns: int = 0


@dataclass(frozen=True, slots=True)
class Output:
    """`name` as in `file_output`, without the end: `file`."""

    name: str
    delivered: int = 0
    lost: int = 0
    waiting: int = 0
    failing: bool = False


@dataclass(frozen=True, slots=True)
class Spool:
    """Of http_output: `waiting` and `bytes` lie on the disk now, the others are counters.

    `refused`: the receiver did not want them; `given_up`: there was no room for them.
    """

    waiting: int = 0
    bytes: int = 0
    sent: int = 0
    refused: int = 0
    retried: int = 0
    given_up: int = 0


@dataclass(frozen=True, slots=True)
class Processes:
    """The process table; `full`: living entries thrown out because it was."""

    entries: int = 0
    capacity: int = 0
    added: int = 0
    removed: int = 0
    full: int = 0
    healed: int = 0  # read from /proc because a record was missing
    minimal: int = 0  # known by the header of a record alone
    lost_exits: int = 0


@dataclass(frozen=True, slots=True)
class Learning:
    """What the agent found out while running: entries for the kernel's filter, functions for few rules."""

    names: int = 0
    processes: int = 0
    refused: int = 0  # the kernel's table was full
    narrowed: int = 0


@dataclass(frozen=True, slots=True)
class Held:
    """Events that waited for facts of their containers; all are counters."""

    held: int = 0
    known: int = 0  # facts came
    unknown: int = 0  # none came in time
    crowded: int = 0  # there were too many


@dataclass(frozen=True, slots=True)
class Containers:
    """Facts of containers; all are counters."""

    lookups: int = 0
    late: int = 0  # facts that came after a container's first process
    given_up: int = 0  # containers of which something stays missing
    forgotten: int = 0  # because they had no processes
    evicted: int = 0  # because there were too many
    failures: Mapping[str, int] = field(default_factory=dict)  # files that were not understood, by reason
    sources: Mapping[str, int] = field(default_factory=dict)  # containers, by where their facts came from
    unknown: Mapping[str, int] = field(default_factory=dict)  # containers whose events waited in vain, by what lacked


@dataclass(frozen=True, slots=True)
class Watch:
    """Of one kind of objects at the API server; all but the first three are counters."""

    kind: str
    connected: bool = False
    synced: bool = False
    lists: int = 0
    watches: int = 0
    events: int = 0
    unreadable: int = 0  # objects
    failures: Mapping[str, int] = field(default_factory=dict)  # by reason


@dataclass(frozen=True, slots=True)
class Kubernetes:
    """What the API server was asked; `events_written` and `events_failed` count Kubernetes' Events about the rules."""

    watches: Sequence[Watch] = ()
    events_written: int = 0
    events_failed: int = 0


@dataclass(frozen=True, slots=True)
class Web:
    """The web server; `dropped`: connections closed for others because there were too many."""

    requests: int = 0
    dropped: int = 0
    failures: int = 0


@dataclass(frozen=True, slots=True)
class File:
    """A file that was read; only the last part of `path` is told."""

    path: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Resources:
    """What the agent and the machine use; 0 what could not be read. See `host.Host`."""

    cpu_ratio: float = 0.0  # of one CPU, since the agent's start
    rss_bytes: int = 0
    vsz_bytes: int = 0
    pss_bytes: int = 0
    container_bytes: int = 0
    host_cpu_ratio: float = 0.0  # of all CPUs, since the machine's start
    host_used_bytes: int = 0
    host_running: int = 0
    host_open_fds: int = 0


@dataclass(frozen=True, slots=True)
class Interface:
    """A network interface and its addresses."""

    name: str
    ipv4: tuple[str, ...] = ()
    ipv6: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Reading:
    """Times in ns since the epoch. What is None or empty is not there, and not told."""

    version: str = ""
    start_ns: int = 0
    reload_ns: int = 0  # the rules in use were loaded
    reload_generation: int = 0  # how many reloads succeeded
    reload_failures: int = 0
    reload_refused: bool = False  # the last one was
    rules_digest: str = ""
    rules_files_left_out: int = 0
    boot_ns: int = 0  # of the machine
    cpus: int = 0
    hostname: str = ""
    kernel_release: str = ""
    engine: str = "modern_bpf"  # Falco's word for CO-RE eBPF here; `modern_ebpf` is that of falco.yaml
    source: str = "syscall"
    rules: Sequence[Rule] = ()
    events: int = 0  # tested
    failures: int = 0  # events that were not decoded, or whose test failed
    kernel: Counted | None = None
    by_cpu: Sequence[Counted] = ()  # by number of the CPU
    backlog_bytes: int = 0
    capacity_bytes: int = 0
    shedding_level: int = 0
    processes: Processes | None = None
    programs: Sequence[Program] = ()
    outputs: Sequence[Output] = ()
    spool: Spool | None = None
    folded: int = 0  # alerts that were repeats
    rules_files: Sequence[File] = ()
    config_files: Sequence[File] = ()
    containers: int | None = None  # known now
    containers_missing: int = 0  # of them those whose image is not known
    container_facts: Containers | None = None
    held: Held | None = None
    learning: Learning | None = None
    web: Web | None = None
    kubernetes: Kubernetes | None = None
    resources: Resources | None = None
    interfaces: Sequence[Interface] = ()
    log_lost: int = 0  # lines that could not be written
    snapshots_lost: int = 0  # lines of metrics.output_file that could not be written
    now_ns: int = field(default_factory=time.time_ns)
