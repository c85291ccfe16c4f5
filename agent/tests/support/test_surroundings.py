# SPDX-License-Identifier: Apache-2.0
"""The checks of processes, clock, watched files, systemd, runtimes and Kubernetes."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from falco_py.config import Config, Kubernetes
from falco_py.support import cluster, surroundings
from falco_py.support.finding import Question
from tests.support.findings import asked, falco_py

if TYPE_CHECKING:
    from pathlib import Path

CHECKS = {one.name: one.run for one in (*surroundings.CHECKS, *surroundings.AFTER, *cluster.CHECKS, *cluster.AFTER)}


def test_processes_are_read_where_the_hosts_proc_is(tmp_path: Path) -> None:
    assert asked(CHECKS["/proc"])[0].startswith(("ok /proc: the facts of ", "warn /proc: the facts of "))
    (tmp_path / "proc").mkdir()
    assert asked(CHECKS["/proc"], Question(None, root=str(tmp_path)))[0].startswith(
        f"FAIL {tmp_path}/proc shows no process -> mount the host's /proc there, or unset HOST_ROOT"
    )
    assert " cannot be read: No such file or directory" in asked(
        CHECKS["/proc"], Question(None, root=str(tmp_path / "none"))
    )[0]  # fmt: skip


@pytest.mark.live
def test_a_proc_that_hides_processes_is_told() -> None:
    script = 'mount -t proc -o hidepid=2 proc /proc && exec "$@"'
    done = falco_py("doctor", before=["unshare", "--mount", "sh", "-c", script, "sh"])
    told = " ".join(done.stdout.split())
    assert "mounted with hidepid=invisible ->" in told or "mounted with hidepid=2 ->" in told


@pytest.mark.live
def test_a_pid_namespace_of_its_own_is_told() -> None:
    done = falco_py("doctor", before=["unshare", "--pid", "--fork", "--mount-proc"])
    told = " ".join(done.stdout.split())
    assert "FAIL pid namespace pid:[" in told
    assert "-> run with the host's pid namespace (Docker: --pid=host, Kubernetes: hostPID: true)" in told
    assert done.returncode == 2


@pytest.mark.live
def test_the_hosts_proc_makes_up_for_a_pid_namespace(tmp_path: Path) -> None:
    script = (
        f'mkdir {tmp_path}/proc && mount --rbind /proc {tmp_path}/proc && exec unshare --pid --fork --mount-proc "$@"'
    )
    command = ["unshare", "--mount", "sh", "-c", script, "sh"]
    done = falco_py("doctor", before=command, env={"HOST_ROOT": str(tmp_path)})
    assert f"one of its own, but {tmp_path}/proc is the host's" in " ".join(done.stdout.split())


def test_a_clock_that_is_far_off_or_free_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(surroundings, "_synchronised", lambda: "chronyd runs")
    assert asked(CHECKS["clock"])[0].endswith("synchronised (chronyd runs)")
    monkeypatch.setattr(surroundings, "_synchronised", lambda: "no")
    assert asked(CHECKS["clock"])[0].startswith("warn ")
    monkeypatch.setattr(time, "clock_gettime", lambda _clock: 1000.0)
    assert asked(CHECKS["clock"])[0].startswith("warn 1970-01-01 00:16:40 UTC cannot be right")


def test_the_time_zone_is_told_with_where_it_comes_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TZ", raising=False)
    monkeypatch.setattr(surroundings, "_ZONE", "/nonexistent")
    assert asked(CHECKS["time zone"]) == ["ok UTC: there is no /nonexistent"]
    monkeypatch.setenv("TZ", "UTC")
    assert asked(CHECKS["time zone"]) == ["ok UTC (+0000), of TZ"]


def test_used_up_inotify_instances_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    assert asked(CHECKS["file watching"])[0].startswith("ok inotify: ")
    monkeypatch.setattr(surroundings, "_inotify_instances", lambda: 1 << 40)
    assert asked(CHECKS["file watching"])[0].startswith("warn inotify: ")
    off = Question(None, config=Config(watch_config_files=False))
    assert asked(CHECKS["file watching"], off) == ["ok off (watch_config_files): kill -HUP reloads"]


def test_a_service_manager_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    assert "run as a service" not in asked(CHECKS["systemd"])[0]
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/systemd/notify")
    monkeypatch.setenv("WATCHDOG_USEC", "30000000")
    assert asked(CHECKS["systemd"]) == ["ok run as a service that is told when the agent is ready, watchdog 30 s"]


def test_sockets_of_runtimes_are_found(tmp_path: Path) -> None:
    question = Question(None, root=str(tmp_path))
    assert "no socket of a runtime" in asked(CHECKS["containers"], question)[0]
    path = tmp_path / "run" / "crio" / "crio.sock"
    path.parent.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        assert asked(CHECKS["containers"], question)[0].endswith("sockets of CRI-O (/run/crio/crio.sock)")


def in_kubernetes(**keys: str) -> Question:
    return Question(None, config=Config(kubernetes=Kubernetes(**keys)))


def test_kubernetes_is_tried_when_the_agent_asks_it_only(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    off = Question(None, config=Config())
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    assert asked(CHECKS["Kubernetes"], off) == ["ok not in a pod"]
    assert asked(CHECKS["Kubernetes"], in_kubernetes())[0].startswith("warn kubernetes.enabled is true, but this is no")
    monkeypatch.setattr(cluster, "ACCOUNT", tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(port))
    assert asked(CHECKS["Kubernetes"], off) == ["ok in a pod, but the API server is not asked (kubernetes.enabled)"]
    account, server = asked(CHECKS["Kubernetes"], in_kubernetes())
    assert account.startswith(f"warn in a pod, but {tmp_path}/token cannot be read")
    assert server.startswith(f"warn the API server 127.0.0.1:{port} is not reachable: Connection refused")


def test_a_kubeconfig_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    file = tmp_path / "kubeconfig"
    told = asked(CHECKS["Kubernetes"], in_kubernetes(kubeconfig=str(file)))
    assert told[0].startswith(f"warn kubernetes.kubeconfig: {file} cannot be read")
    file.write_text("")
    assert asked(CHECKS["Kubernetes"], in_kubernetes(kubeconfig=str(file)))[0].startswith("ok ")


@pytest.mark.skipif(os.geteuid() != 0, reason="inotify of another process is looked at")
def test_inotify_instances_are_counted() -> None:
    code = "import ctypes, time; ctypes.CDLL(None).inotify_init1(0); time.sleep(60)"
    before = surroundings._inotify_instances()
    with subprocess.Popen([sys.executable, "-c", code]) as watching:
        try:
            deadline = time.monotonic() + 30
            while surroundings._inotify_instances() <= before and time.monotonic() < deadline:
                time.sleep(0.05)
            assert surroundings._inotify_instances() > before
        finally:
            watching.kill()
