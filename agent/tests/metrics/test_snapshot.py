# SPDX-License-Identifier: Apache-2.0
"""The fields of a snapshot, and the file that snapshots go to."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from falco_py.config.model import Config
from falco_py.engine.alert import InternalAlert
from falco_py.log import log
from falco_py.metrics.reading import Resources, Rule
from falco_py.metrics.snapshot import DERIVED, MESSAGE, RULE, MetricsFile, Snapshot
from falco_py.metrics.table import METRICS
from tests.metrics.made import ALL, START_NS, S, counted, reading

if TYPE_CHECKING:
    from collections.abc import Callable

# Falco's list of keys.
WRAPPER = frozenset(
    """
evt.time evt.hostname evt.source scap.engine_name falco.version falco.start_ts falco.duration_sec
falco.kernel_release falco.host_boot_ts falco.host_num_cpus falco.outputs_queue_num_drops falco.reload_ts falco.num_evts
falco.num_evts_prev
""".split()  # noqa: SIM905 - a list is read more easily in lines
)
WITH_ALL = frozenset(
    """
falco.evts_rate_sec falco.sha256_rules_file.falco_rules_yaml falco.sha256_config_file.falco_yaml
falco.host_netinfo.interfaces.eth0.protocols.ipv4.addresses falco.host_netinfo.interfaces.eth0.protocols.ipv6.addresses
falco.host_netinfo.interfaces.eth1.5.protocols.ipv4.addresses falco.rules.matches_total
falco.rules.Read_sensitive_file_untrusted falco.cpu_usage_perc falco.memory_rss_mb falco.memory_vsz_mb
falco.memory_pss_mb falco.container_memory_used_mb falco.host_cpu_usage_perc falco.host_memory_used_mb
falco.host_procs_running falco.host_open_fds falco.n_threads falco.n_added_threads falco.n_removed_threads
falco.n_noncached_thread_lookups falco.n_failed_thread_lookups falco.n_drops_full_threadtable
scap.n_evts scap.n_evts_prev scap.evts_rate_sec scap.n_drops scap.n_drops_prev scap.evts_drop_rate_sec scap.n_drops_perc
scap.n_drops_buffer_total scap.n_drops_buffer_open_exit scap.n_drops_scratch_map
scap.n_evts_cpu_0 scap.n_evts_cpu_1 scap.n_drops_cpu_0 scap.n_drops_cpu_1
scap.sys_exit.run_cnt scap.sys_exit.run_time_ns scap.sys_exit.avg_time_ns scap.sched_p_exec.run_cnt
scap.sched_p_exec.run_time_ns scap.sched_p_exec.avg_time_ns
plugins.container.n_containers plugins.container.n_missing
""".split()  # noqa: SIM905 - a list is read more easily in lines
)


def second(later: dict[str, Any] | None = None, settings: Any = ALL) -> dict[str, Any]:
    """The fields of a snapshot ten seconds after the first."""
    snapshot = Snapshot(settings)
    snapshot.fields(reading())
    return snapshot.fields(reading(**{"now_ns": START_NS + 70 * S, **(later or {})}))


def falcos(fields: dict[str, Any]) -> set[str]:
    return {key for key in fields if not key.startswith("falco_py.")}


def test_all_switched_on_gives_falcos_keys_and_no_others() -> None:
    assert falcos(second()) == {*WRAPPER, *WITH_ALL}


def test_all_switched_off_leaves_who_speaks_and_what_was_seen() -> None:
    off = {name: False for name in ALL.__slots__ if name.endswith("_enabled")}
    always = {key for key in WITH_ALL if "sha256" in key or "netinfo" in key or key == "falco.evts_rate_sec"}
    assert falcos(second(settings=replace(ALL, **off))) == {*WRAPPER, *always}


def test_values_are_those_of_the_reading() -> None:
    fields = second()
    wanted = {
        "evt.time": START_NS + 70 * S,
        "evt.source": "syscall",
        "evt.hostname": "node-1",
        "scap.engine_name": "modern_bpf",
        "falco.version": "1.2.3",
        "falco.duration_sec": 70,
        "falco.reload_ts": START_NS + 5 * S,
        "falco.outputs_queue_num_drops": 2,
        "falco.sha256_rules_file.falco_rules_yaml": "ab" * 32,
        "falco.host_netinfo.interfaces.eth0.protocols.ipv4.addresses": "192.0.2.1,192.0.2.2",
        "falco.rules.Read_sensitive_file_untrusted": 5,
        "falco.cpu_usage_perc": 1.4,
        "falco.memory_rss_mb": 76.7,
        "falco.host_memory_used_mb": 8192.0,
        "falco_py.outputs.http.failing": 1,
        "falco_py.spool.given_up": 3,
    }
    assert {key: fields[key] for key in wanted} == wanted


def test_rates_are_those_between_two_snapshots() -> None:
    later = {"events": 1500, "kernel": counted(dropped=57)}
    fields = second(later)
    assert (fields["falco.num_evts"], fields["falco.num_evts_prev"], fields["falco.evts_rate_sec"]) == (
        1500,
        1000,
        50.0,
    )
    assert (fields["scap.n_evts"], fields["scap.n_evts_prev"], fields["scap.evts_rate_sec"]) == (860, 810, 5.0)
    assert (fields["scap.n_drops"], fields["scap.n_drops_prev"], fields["scap.evts_drop_rate_sec"]) == (60, 10, 5.0)
    assert fields["scap.n_drops_perc"] == 100.0


def test_the_first_snapshot_knows_no_rates() -> None:
    fields = Snapshot(ALL).fields(reading())
    assert "falco.evts_rate_sec" not in fields
    assert (fields["scap.evts_rate_sec"], fields["scap.n_evts_prev"], fields["falco.num_evts_prev"]) == (0.0, 0, 0)


def test_a_clock_that_was_set_back_gives_no_negative_rates() -> None:
    assert second({"now_ns": START_NS, "events": 5})["falco.evts_rate_sec"] == 0.0


def test_memory_is_in_kib_or_bytes_when_not_in_mb() -> None:
    fields = second(settings=replace(ALL, convert_memory_to_mb=False))
    assert fields["falco.memory_rss_kb"] == 78500
    assert fields["falco.container_memory_used_bytes"] == 90 << 20
    assert not [key for key in fields if key.endswith("_mb")]


def test_empty_values_are_told_when_wanted() -> None:
    nothing = {"resources": Resources()}
    assert "falco.rules.Never_fires" not in second(nothing)
    assert "falco.memory_rss_mb" not in second(nothing)
    told = second(nothing, replace(ALL, include_empty_values=True))
    assert (told["falco.rules.Never_fires"], told["falco.memory_rss_mb"], told["scap.n_drops_bug"]) == (0, 0.0, 0)
    assert told["scap.n_drops_buffer_close_exit"] == told["scap.n_drops_buffer_open_enter"] == 0


def test_rules_whose_names_become_one_key_are_added_up() -> None:
    fields = second({"rules": [Rule("A b", 4, matches=2), Rule("A-b", 4, matches=3)]})
    assert (fields["falco.rules.A_b"], fields["falco.rules.matches_total"]) == (5, 5)


def test_every_key_stands_in_the_tables() -> None:
    keys = [row.key for row in METRICS if row.key] + [key for key, _, _ in DERIVED]
    forms = [re.sub(r"\\{[a-z_]+\\}", ".+", re.escape(key)) + "(_mb|_perc)?" for key in keys]
    told = second(settings=replace(ALL, include_empty_values=True))
    assert [key for key in told if not any(re.fullmatch(form, key) for form in forms)] == []


def test_the_alert_is_falcos() -> None:
    alert = InternalAlert(RULE, 6, "internal", (), START_NS, MESSAGE, second(), hostname="node-1")
    made = json.loads(alert.json(Config()))
    assert (made["rule"], made["output"]) == ("Falco internal: metrics snapshot", "Falco metrics snapshot")
    assert (made["priority"], made["source"]) == ("Informational", "internal")
    assert made["output_fields"]["falco.version"] == "1.2.3"
    assert " Informational Falco metrics snapshot (" in alert.text()


def test_lines_are_numbered_from_one() -> None:
    snapshot = Snapshot(ALL)
    lines = [snapshot.line(snapshot.fields(reading())) for _ in range(2)]
    assert [json.loads(line)["sample"] for line in lines] == [1, 2]
    assert set(json.loads(lines[0])) == {"output_fields", "sample"}
    assert lines[0].startswith('{"output_fields":{"evt.hostname":')


def test_lines_are_appended_to_a_file_for_its_owner_and_group(tmp_path: Path) -> None:
    path = tmp_path / "stats.jsonl"
    file = MetricsFile(str(path))
    assert file.append("one")
    assert file.append("two")
    assert (path.read_text(), file.written, file.lost) == ("one\ntwo\n", 2, 0)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


@pytest.mark.parametrize("moved", [lambda path: path.rename(f"{path}.1"), Path.unlink], ids=["rotated", "deleted"])
def test_a_file_that_is_gone_is_made_anew(tmp_path: Path, moved: Callable[[Path], object]) -> None:
    path = tmp_path / "stats.jsonl"
    file = MetricsFile(str(path))
    file.append("one")
    moved(path)
    assert file.append("two")
    assert path.read_text() == "two\n"


@pytest.fixture
def logged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    path = tmp_path / "log"
    fd = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    monkeypatch.setattr(log, "fd", fd)
    monkeypatch.setattr(log, "enabled", True)
    return lambda: path.read_text().splitlines()


def test_a_failure_is_told_once_and_so_is_its_end(tmp_path: Path, logged: Callable[[], list[str]]) -> None:
    path = tmp_path / "later" / "stats.jsonl"
    file = MetricsFile(str(path))
    assert not file.append("one")
    assert not file.append("two")
    path.parent.mkdir()
    assert file.append("three")
    assert (file.lost, file.written, path.read_text()) == (2, 1, "three\n")
    error, notice = logged()
    assert f"metrics.output_file: {path} cannot be written: No such file or directory" in error
    assert "What to do" in error
    assert "can be written again" in notice


def test_a_pipe_whose_reader_does_not_read_holds_up_nobody(tmp_path: Path, logged: Callable[[], list[str]]) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    file = MetricsFile(str(path))
    assert not file.append("nobody")
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        for _ in range(40):
            file.append("x" * 4000)
    finally:
        os.close(reader)
    assert file.written > 0
    assert "its reader does not keep up" in logged()[-1]


_FULL = """
import os, sys
sys.path.insert(0, sys.argv[1])
from falco_py.metrics.snapshot import MetricsFile
file = MetricsFile(sys.argv[2] + "/stats.jsonl")
taken = [file.append("x" * 1500) for _ in range(9)]
left = open(file.path).read()
print(sum(taken), file.lost, left == ("x" * 1500 + "\\n") * sum(taken))
os.truncate(file.path, 0)
print(file.append("room again"))
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root for a small file system")
def test_a_full_disk_leaves_whole_lines_and_is_told_once(tmp_path: Path) -> None:
    """On a file system of two pages that only this process sees."""
    disk = tmp_path / "disk"
    disk.mkdir()
    agent = str(Path(__file__).parents[2])
    script = 'mount -t tmpfs -o size=8k none "$3" && exec "$0" -c "$1" "$2" "$3"'
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", script, sys.executable, _FULL, agent, str(disk)],
        capture_output=True, text=True, timeout=30, check=True,
    )  # fmt: skip
    assert done.stdout.splitlines() == ["5 4 True", "True"]
    assert done.stderr.count("No space left on device") == 1
    assert done.stderr.count("can be written again") == 1
