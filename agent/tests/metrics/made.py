# SPDX-License-Identifier: Apache-2.0
"""A reading with a figure of its own in every place, and settings that turn everything on."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from falco_py.config.model import Metrics
from falco_py.kernel.bpf import ProgramRuns
from falco_py.kernel.tables import CLASSES
from falco_py.metrics.reading import (
    Containers,
    File,
    Held,
    Interface,
    KernelCounters,
    Kubernetes,
    Learning,
    Output,
    Processes,
    Reading,
    Resources,
    Rule,
    Spool,
    Watch,
    Web,
)

S = 1_000_000_000
START_NS = 1_700_000_000 * S
ALL = Metrics(kernel_event_counters_per_cpu_enabled=True)


def counted(dropped: int = 7) -> KernelCounters:
    return KernelCounters(
        sent=dict.fromkeys(CLASSES, 100),
        dropped=dict.fromkeys(CLASSES, 0) | {"open": dropped},
        shed=dict.fromkeys(CLASSES, 0) | {"connect": 3},
        errors={"scratch": 2, "number": 0, "full": 0, "fd": 1},
    )


def reading(**changes: Any) -> Reading:
    made = Reading(
        version="1.2.3",
        start_ns=START_NS,
        reload_ns=START_NS + 5 * S,
        reload_generation=2,
        reload_failures=1,
        reload_refused=True,
        rules_digest="0123456789ab",
        rules_files_left_out=2,
        boot_ns=START_NS - 100 * S,
        cpus=2,
        hostname="node-1",
        kernel_release="6.1.0",
        rules=[
            Rule("Read sensitive file (untrusted)", 4, tags=("T1555", "PCI_DSS_10.2", "host"), matches=5, delivered=40,
                 test_ns=2_500_000),
            Rule("Never fires", 6),
        ],
        events=1000,
        failures=4,
        kernel=counted(),
        by_cpu=[counted(7), counted(0)],
        backlog_bytes=4096,
        capacity_bytes=1 << 24,
        shedding_level=2,
        processes=Processes(entries=50, capacity=1000, added=80, removed=30, full=6, healed=9, minimal=8, lost_exits=5),
        programs=[ProgramRuns("falco_sys_exit", 10, 5000), ProgramRuns("falco_exec", 2, 900)],
        outputs=[Output("stdout", delivered=20), Output("http", delivered=3, lost=2, waiting=11, failing=True)],
        spool=Spool(waiting=12, bytes=34567, sent=89, refused=1, retried=2, given_up=3),
        folded=13,
        rules_files=[File("/etc/falco/falco_rules.yaml", "ab" * 32)],
        config_files=[File("/etc/falco/falco.yaml", "cd" * 32)],
        containers=16,
        containers_missing=1,
        container_facts=Containers(41, 42, 43, 44, 45, {"link": 46}, {"api": 64}, {"no_files": 65}),
        held=Held(0, 66, 67, 68),
        learning=Learning(names=21, processes=22, refused=23, narrowed=24),
        kubernetes=Kubernetes([Watch("pods", True, True, 51, 52, 53, 54, {"Timeout": 55})], 56, 57),
        web=Web(requests=31, dropped=32, failures=33),
        resources=Resources(cpu_ratio=0.0142, rss_bytes=80384000, vsz_bytes=100 << 20, pss_bytes=42 << 20,
                            container_bytes=90 << 20, host_cpu_ratio=0.108, host_used_bytes=8 << 30, host_running=3,
                            host_open_fds=17664),
        interfaces=[Interface("eth0", ("192.0.2.1", "192.0.2.2"), ("fd00:0:0:0:0:0:0:1",)),
                    Interface("eth1.5", ("10.0.0.1",))],
        log_lost=41,
        snapshots_lost=42,
        now_ns=START_NS + 60 * S,
    )  # fmt: skip
    return replace(made, **changes)
