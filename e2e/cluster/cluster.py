# SPDX-License-Identifier: Apache-2.0
"""A directory becomes a Kubernetes cluster of one node: etcd, the control plane, kubelet, kube-proxy and containerd.

All of it runs in mount, network and uts namespaces of its own, its pods in cgroups of its own. Invariant: what `start`
made, `stop` removes, also when `start` got only half way or the process that started it was killed; of the host's
files, mounts, settings, interfaces and cgroups nothing is changed that is not undone. Only the daemons' logs stay.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from e2e.cluster import certificates, images
from e2e.cluster.cgroups import Cgroups
from e2e.cluster.places import PLACES, Places
from e2e.cluster.processes import Process, inhabitants
from e2e.cluster.programs import programs
from e2e.cluster.settings import ADDRESS, CONTAINERD_SOCKET, KUBERNETES_SERVICE, NODE, SERVER, Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

T = TypeVar("T")

COMMAND_S: Final = 120.0
START_S: Final = 90.0
READY_S: Final = 90.0
STOP_S: Final = 30.0
_GRACE_S: Final = 5.0
_STEP_S: Final = 0.05

DAEMONS: Final = (
    "etcd", "containerd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy",
)  # fmt: skip
# The API server waits a minute for whoever watches, and nobody stops watching.
_KILLED: Final = ("kube-apiserver",)
_ROOT: Final = Path(__file__).resolve().parents[2]
_HOLDER: Final = Path(__file__).resolve().parent / "holder.sh"
_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Cluster:
    """One cluster, whose files are all below `scratch`. A second object with the same `scratch` steers the same one."""

    def __init__(self, scratch: Path, *, api_server: Sequence[str] = (), keep: bool = False) -> None:
        """`api_server`: more of its flags. `keep`: it goes on when the process that started it has ended."""
        self.scratch = scratch.absolute()
        self._api_server = api_server
        self._keep = keep
        self._places = Places()
        self._children: list[subprocess.Popen[bytes]] = []
        self._warden: subprocess.Popen[bytes] | None = None

    # Life

    def start(self) -> Cluster:
        """Returns when the node is Ready and pods can be made.

        Raises RuntimeError with what the daemons said; then, as after any exception, nothing is left.
        """
        if os.geteuid() != 0:
            raise RuntimeError("a cluster needs root: namespaces, cgroups and mounts")
        if self._record:
            raise RuntimeError(f"there is a cluster in {self.scratch}, or what is left of one: stop it first")
        made = programs()
        try:
            self._start(made)
        except BaseException as failure:
            if isinstance(failure, Exception):
                failure.add_note(self.tail())
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Ends it by the numbers of its processes, and removes all but the logs; safe at any point, and twice.

        Raises RuntimeError: what could not be removed.
        """
        record = self._record
        if "holder" not in record:  # we were interrupted before it was noted, and nothing else was started
            for child in self._children:
                child.kill()
        if record:
            cgroups = Cgroups(record["cgroup"])
            self._end(cgroups)
            cgroups.remove()
            self._places.give_up()
            _remove(self.scratch, keep="log")
        for child in self._children:
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(_GRACE_S)
        self._children.clear()
        if self._warden is not None:
            assert self._warden.stdin is not None
            self._warden.stdin.close()
            self._warden.wait(STOP_S)
            self._warden = None

    def _start(self, made: Path) -> None:
        self.scratch.mkdir(parents=True, exist_ok=True)
        _remove(self.scratch)
        for name in ("conf", "etcd", "home", "images", "log", "pki"):
            (self.scratch / name).mkdir()
        cgroup = f"falco-py-{secrets.token_hex(4)}"
        self._save({"cgroup": cgroup, "programs": str(made), "api_server": list(self._api_server), "daemons": {}})
        if not self._keep:
            self._watch_over()
        settings = self._settings()
        certificates.make(settings.pki, certificates.holders(NODE, ADDRESS, KUBERNETES_SERVICE), SERVER)
        settings.write()
        Cgroups(cgroup).make()
        self._furnish(settings)
        for name in ("etcd", "containerd", "kube-apiserver"):
            self.start_daemon(name, wait=False)
        archives = [make(self.scratch / "images") for make in (images.pause, images.busybox)]
        self._await("containerd")
        for archive in archives:
            self.import_image(archive)
        self._await("kube-apiserver")
        for name in ("kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy"):
            self.start_daemon(name, wait=False)
        self._until(lambda: self.kubectl("get", "node", NODE, check=False).returncode == 0, START_S, "there is no node")
        self.kubectl(
            "wait", "--for=condition=Ready", f"node/{NODE}", f"--timeout={READY_S:.0f}s", timeout_s=2 * READY_S
        )
        # Without it no pod is admitted.
        self._until(
            lambda: self.kubectl("get", "serviceaccount", "default", check=False).returncode == 0, START_S,
            "there is no default service account",
        )  # fmt: skip

    def _watch_over(self) -> None:
        """Starts the process that stops the cluster when this one ends without having done so."""
        self._warden = subprocess.Popen(
            [sys.executable, "-m", "e2e.cluster", "--scratch", str(self.scratch), "warden"], cwd=_ROOT,
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip

    def _furnish(self, settings: Settings) -> None:
        """Makes the namespaces, with a process that holds them."""
        share = self._places.take()
        words = [word for mount in settings.mounts(PLACES) for word in mount]
        with (self.scratch / "log" / "holder.log").open("ab") as log:
            holder = subprocess.Popen(
                ["unshare", "--net", "--mount", "--uts", "--propagation=private",
                 "sh", str(_HOLDER), str(self.scratch), NODE, ADDRESS, *words],
                env=self.environment(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                pass_fds=(share,), cwd="/",
            )  # fmt: skip
        self._children.append(holder)
        process = Process.of(holder.pid)
        self._save({**self._record, "holder": [process.pid, process.started]})
        self._until((self.scratch / "furnished").exists, COMMAND_S, "the namespaces could not be furnished")

    def _end(self, cgroups: Cgroups) -> None:
        """Kills all that lives in the namespaces or the cgroups, and last who holds the namespaces."""
        holder, namespaces = self._holder(), self._namespaces()
        ends = time.monotonic() + STOP_S
        while found := {*inhabitants(namespaces), *cgroups.processes()} - {holder}:
            for process in found:
                process.kill()
            if time.monotonic() > ends:
                raise RuntimeError(f"processes do not end: {found}")
            time.sleep(_STEP_S)
        if holder is not None:
            holder.kill()
            while holder.alive():
                if time.monotonic() > ends:
                    raise RuntimeError(f"the process that holds the namespaces does not end: {holder}")
                time.sleep(_STEP_S)

    def _namespaces(self) -> dict[str, str]:
        """The cluster's, as long as one of the processes that were started in them lives: the kernel gives the
        identity of a namespace that has ended to another.
        """
        for witness in (self._holder(), *map(self.daemon, DAEMONS)):
            if witness is not None and witness.alive():
                with contextlib.suppress(OSError):
                    return witness.namespaces()
        return {}

    # Use

    @property
    def kubeconfig(self) -> Path:
        """Of an administrator. The API server's address is one of the cluster's network namespace: see `command`."""
        return self.scratch / "pki" / "admin.conf"

    def kubectl(
        self, *words: str, check: bool = True, text: str = "", timeout_s: float = COMMAND_S
    ) -> subprocess.CompletedProcess[str]:
        """`text` is the standard input. Raises RuntimeError when it fails and `check`."""
        return self._checked(self.client("kubectl", words), check, text, timeout_s)

    def helm(
        self, *words: str, check: bool = True, text: str = "", timeout_s: float = COMMAND_S
    ) -> subprocess.CompletedProcess[str]:
        """As `kubectl`."""
        return self._checked(self.client("helm", words), check, text, timeout_s)

    def apply(self, manifest: str) -> None:
        """Makes or changes the objects of a manifest."""
        self.kubectl("apply", "--filename=-", text=manifest)

    def import_image(self, archive: Path) -> None:
        """Gives the node the images of a docker-archive; pods name them as the archive does, without pulling."""
        self.ctr("images", "import", str(archive.absolute()))

    def ctr(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """containerd's own client, on the containers of the pods."""
        return self._checked(self.client("ctr", words), check, "", COMMAND_S)

    def terminal(self, pod: str, *command: str, text: str = "", timeout_s: float = COMMAND_S) -> str:
        """Runs a command in a pod as a person does, `kubectl exec -it` in a terminal; all that the terminal showed.

        `pod`: its name, and kubectl's options for exec before it if any are needed. `text`: what is typed.
        """
        words = self.client("kubectl", ["exec", "-it", *shlex.split(pod), "--", *command])
        done = self._run(
            ["script", "--quiet", "--return", "--command", shlex.join(words), "/dev/null"], text, timeout_s
        )
        if done.returncode:
            raise RuntimeError(f"{shlex.join(command)}: {done.returncode}\n{done.stdout[-4000:]}")
        return done.stdout.replace("\r\n", "\n")

    def run(
        self, *words: str, check: bool = True, text: str = "", timeout_s: float = COMMAND_S, files: bool = False
    ) -> subprocess.CompletedProcess[str]:
        """Runs a program of the host in the cluster's network, with `files` among its mounts too."""
        return self._checked(self.command(*words, files=files), check, text, timeout_s)

    def client(self, name: str, words: Sequence[str]) -> list[str]:
        """The command line of kubectl, helm, ctr or (`run`) any program; `environment` goes with it."""
        match name:
            case "run":
                return self.command(*words)
            case "ctr":
                return self.command("ctr", f"--address={CONTAINERD_SOCKET}", "--namespace=k8s.io", *words, files=True)
            case _:
                return self.command(str(Path(self._running()["programs"]) / name), *words)

    def command(self, *words: str, files: bool = False) -> list[str]:
        """The command line that runs a program in the cluster's network; `environment` goes with it.

        With `files` it runs among the cluster's mounts, where only absolute paths are of use.
        """
        holder = Process(*self._running()["holder"])
        entered = ["--net", "--mount", "--uts"] if files else ["--net"]
        return ["nsenter", f"--target={holder.pid}", *entered, "--", *words]

    def environment(self) -> dict[str, str]:
        """For programs in the cluster: nothing of the machine's, whose proxies do not lead to it."""
        return {
            "PATH": _PATH,
            "HOME": str(self.scratch / "home"),
            "LANG": "C.UTF-8",
            "SHELL": "/bin/sh",
            "TERM": os.environ.get("TERM", "dumb"),
            "KUBECONFIG": str(self.kubeconfig),
        }

    # Daemons

    def start_daemon(self, name: str, *, wait: bool = True) -> None:
        """Starts one of DAEMONS that does not run; with `wait` returns when it answers."""
        running = self.daemon(name)
        if running is not None and running.alive():
            raise RuntimeError(f"{name} runs already")
        with (self.scratch / "log" / f"{name}.log").open("ab") as log:
            child = subprocess.Popen(
                self.command(*self._settings().command(name), files=True), env=self.environment(), cwd="/",
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        self._children.append(child)
        process = Process.of(child.pid)
        record = self._record
        self._save({**record, "daemons": {**record["daemons"], name: [process.pid, process.started]}})
        if wait:
            self._await(name)

    def stop_daemon(self, name: str) -> None:
        """Ends one of DAEMONS as a service manager does: it is asked first. Pods go on without it."""
        process = self.daemon(name)
        if process is None:
            return
        ends = time.monotonic() + _GRACE_S
        process.kill(signal.SIGKILL if name in _KILLED else signal.SIGTERM)
        while process.alive():
            if time.monotonic() > ends:
                process.kill()
            time.sleep(_STEP_S)

    def restart(self, name: str) -> None:
        """Ends one of DAEMONS and starts it again; returns when it answers."""
        self.stop_daemon(name)
        self.start_daemon(name)

    def daemon(self, name: str) -> Process | None:
        """The process that was started last for one of DAEMONS; it may have ended."""
        found = self._record.get("daemons", {}).get(name)
        return Process(*found) if found else None

    @property
    def cgroups(self) -> Cgroups:
        """Where the pods are."""
        return Cgroups(self._running()["cgroup"])

    def processes(self) -> set[Process]:
        """All that belong to it: the daemons, what they started, those of the pods, and who holds the namespaces."""
        record = self._record
        return {*inhabitants(self._namespaces()), *Cgroups(record["cgroup"]).processes()} if record else set()

    def memory_bytes(self) -> dict[str, int]:
        """The resident memory of each daemon (proc(5), /proc/PID/statm)."""
        page = os.sysconf("SC_PAGE_SIZE")
        living = {name: process for name in DAEMONS if (process := self.daemon(name)) is not None and process.alive()}
        return {
            name: int(Path(f"/proc/{process.pid}/statm").read_text().split()[1]) * page
            for name, process in living.items()
        }

    def logs(self) -> list[Path]:
        return sorted((self.scratch / "log").glob("*.log"))

    def tail(self, lines: int = 12) -> str:
        """The last lines of each daemon's log."""
        shown = []
        for path in self.logs():
            said = path.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:]
            shown.append(f"--- {path.stem}\n" + "\n".join(line[:400] for line in said))
        return "\n".join(shown)

    def _await(self, name: str) -> None:
        """Returns when a daemon answers; of those that nobody asks anything, when it lives."""
        questions: dict[str, Callable[[], subprocess.CompletedProcess[str]]] = {
            "containerd": lambda: self.ctr("version", check=False),
            "kube-apiserver": lambda: self.kubectl("get", "--raw=/readyz", check=False),
            "kubelet": lambda: self.kubectl("get", f"--raw=/api/v1/nodes/{NODE}/proxy/healthz", check=False),
        }
        ask = questions.get(name)
        if ask is not None:
            self._until(lambda: ask().returncode == 0, START_S, f"{name} does not answer")

    def _until(self, look: Callable[[], bool], deadline_s: float, otherwise: str) -> None:
        """Returns as soon as `look` is true. Raises RuntimeError, also when a daemon has ended meanwhile."""
        ends = time.monotonic() + deadline_s
        while not look():
            for name in DAEMONS:
                process = self.daemon(name)
                if process is not None and not process.alive():
                    raise RuntimeError(f"{otherwise}: {name} has ended")
            if self._holder() is None:
                raise RuntimeError(f"{otherwise}: the process that holds the namespaces has ended")
            if time.monotonic() > ends:
                raise RuntimeError(otherwise)
            time.sleep(_STEP_S)

    # What is where

    @property
    def _record(self) -> dict[str, Any]:
        """What was started, of this start of the machine; empty when nothing was."""
        try:
            record: dict[str, Any] = json.loads((self.scratch / "cluster.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        if record["boot"] != _boot():  # processes and cgroups have ended with it
            record.update(daemons={}, holder=None)
        return record

    def _save(self, record: dict[str, Any]) -> None:
        fresh = self.scratch / "cluster.json.new"
        fresh.write_text(json.dumps({**record, "boot": _boot()}), encoding="utf-8")
        fresh.rename(self.scratch / "cluster.json")

    def _holder(self) -> Process | None:
        found = self._record.get("holder")
        process = Process(*found) if found else None
        return process if process is not None and process.alive() else None

    def _settings(self) -> Settings:
        record = self._record
        return Settings(self.scratch, Path(record["programs"]), f"/{record['cgroup']}", record["api_server"])

    def _running(self) -> dict[str, Any]:
        if self._holder() is None:
            raise RuntimeError(f"no cluster runs in {self.scratch}")
        return self._record

    def _checked(
        self, command: Sequence[str], check: bool, text: str, timeout_s: float
    ) -> subprocess.CompletedProcess[str]:
        done = self._run(command, text, timeout_s)
        if check and done.returncode:
            raise RuntimeError(f"{shlex.join(command)}: {done.returncode}\n{done.stdout[-4000:]}{done.stderr[-4000:]}")
        return done

    def _run(self, command: Sequence[str], text: str, timeout_s: float) -> subprocess.CompletedProcess[str]:
        try:
            return subprocess.run(
                command, input=text, capture_output=True, text=True, errors="replace", timeout=timeout_s,
                env=self.environment(), check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired as late:
            late.add_note(self.tail())
            raise


def _boot() -> str:
    """The identity of this start of the machine."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()


def _remove(directory: Path, keep: str = "") -> None:
    """Empties a directory in which nothing is mounted, but for one entry; what says where the rest is goes last."""
    mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8")
    if f" {directory}/" in mounts:
        raise RuntimeError(f"something is mounted below {directory}")
    entries = sorted(directory.iterdir(), key=lambda path: path.name.startswith("cluster.json"))
    for path in entries:
        if path.name != keep:
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
