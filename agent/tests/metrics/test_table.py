# SPDX-License-Identifier: Apache-2.0
"""The table names all there is, once, in Falco's words where Falco has one."""

from __future__ import annotations

import re
from dataclasses import fields
from typing import TYPE_CHECKING

import pytest

from falco_py.config.keys import KEYS
from falco_py.metrics.names import key_part, tag_label
from falco_py.metrics.table import FALCOS, LINK, METRICS, OURS, OWN, Kind, Switch
from tests.metrics.made import ALL, reading

if TYPE_CHECKING:
    from falco_py.metrics.table import Metric

# Falco's list, without what has no meaning here: fds, lookups that are not counted, stored events, iterators, jemalloc.
PRESCRIBED = frozenset(
    """
falco_version_info falco_sha256_rules_files_info falco_sha256_config_files_info falco_outputs_queue_num_drops_total
falco_reload_timestamp_nanoseconds falco_rules_matches_total falco_kernel_release_info falco_start_timestamp_nanoseconds
falco_host_boot_timestamp_nanoseconds falco_duration_seconds_total falco_host_num_cpus_total evt_hostname_info
scap_engine_name_info falco_cpu_usage_ratio falco_memory_rss_bytes falco_memory_vsz_bytes falco_memory_pss_bytes
falco_container_memory_used_bytes falco_host_cpu_usage_ratio falco_host_memory_used_bytes falco_host_procs_running_total
falco_host_open_fds_total scap_n_evts_total scap_n_drops_total scap_n_drops_scratch_map_total
scap_n_drops_page_faults_total scap_n_drops_bug_total scap_n_preemptions_total scap_n_drops_buffer_total
scap_n_evts_cpu_total scap_n_drops_cpu_total scap_sys_exit_run_cnt_total scap_sys_exit_run_time_ns_total
scap_sys_exit_avg_time_ns scap_sched_p_exec_run_cnt_total scap_sched_p_exec_run_time_ns_total
scap_sched_p_exec_avg_time_ns scap_n_threads_total scap_n_added_threads_total scap_n_removed_threads_total
scap_n_noncached_thread_lookups_total scap_n_failed_thread_lookups_total scap_n_drops_full_threadtable_total
plugins_container_n_containers_total plugins_container_n_missing_total
""".split()  # noqa: SIM905 - a list is read more easily in lines
)


def names(rows: tuple[Metric, ...]) -> list[str]:
    """As they stand in the text for Prometheus, each once."""
    found = [name for row in rows if row.name for name, _, _ in row.exposed(ALL, reading())]
    return list(dict.fromkeys(found))


def test_falcos_part_has_falcos_names_and_no_others() -> None:
    assert sorted(names(FALCOS)) == sorted(f"falcosecurity_{name}" for name in PRESCRIBED)


def test_each_name_stands_in_one_row() -> None:
    for told in ([row.name for row in METRICS if row.name], [row.key for row in METRICS if row.key]):
        assert len(told) == len(set(told))


@pytest.mark.parametrize("row", OWN, ids=lambda row: row.name)
def test_our_names_are_as_prometheus_wants_them(row: Metric) -> None:
    assert re.fullmatch(OURS + r"[a-z_]+", row.name)
    assert row.name.endswith("_total") == (row.kind is Kind.COUNTER)
    assert LINK not in row.help


@pytest.mark.parametrize("row", METRICS, ids=lambda row: row.name or row.key)
def test_labels_are_those_that_are_given(row: Metric) -> None:
    for _, given in row.read(reading()):
        said = {"tag_*" if label.startswith("tag_") else label for label in given}
        assert said <= ({"program"} if "{program}" in row.name else set(row.labels))
        assert said >= set(row.labels) - {"tag_*"}


def test_every_switch_is_a_key_of_the_configuration() -> None:
    for switch in Switch:
        assert switch is Switch.ALWAYS or f"metrics.{switch}" in KEYS


def test_every_figure_of_a_reading_is_told() -> None:
    """A figure that another takes the place of changes some sample."""

    def told(**changes: object) -> list[object]:
        made = reading(**changes)
        return [tuple(row.exposed(ALL, made)) if row.name else tuple(row.told(ALL, made)) for row in METRICS]

    before = told()
    others = {int: 987654, float: 0.5, str: "another"}
    for one in fields(reading()):
        value = getattr(reading(), one.name)
        if type(value) in others:
            assert told(**{one.name: others[type(value)]}) != before, one.name
        elif one.name != "interfaces":  # in the snapshot only
            assert told(**{one.name: () if isinstance(value, list) else None}) != before, one.name


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("Read sensitive file (untrusted)", "Read_sensitive_file_untrusted"),
        ("falco_rules.yaml", "falco_rules_yaml"),
        ("__a -- b__", "a_b"),
        ("Ünïcode", "n_code"),
        ("***", "_"),
    ],
)
def test_names_become_parts_of_keys(name: str, part: str) -> None:
    assert key_part(name) == part


@pytest.mark.parametrize(
    ("tag", "label"), [("T1555", "tag_T1555"), ("PCI_DSS_10.2", "tag_PCI_DSS_10_2"), ("é", "tag__")]
)
def test_tags_become_labels(tag: str, label: str) -> None:
    assert tag_label(tag) == label
