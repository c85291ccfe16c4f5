# SPDX-License-Identifier: Apache-2.0
"""Containers of podman and of containerd for the live tests, made from a busybox image without a registry.

Invariant: daemons, mounts and networks are in namespaces of their own, files in the scratch directory; what `start`
made, `stop` removes, also when `start` got only half way.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import tarfile
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

BUSYBOX = "/usr/bin/busybox"
IMAGE = "registry.test/shop/web"
TAG = "1.2"
COMMAND_DEADLINE_S = 60.0
START_DEADLINE_S = 20.0

_CONTAINERS_CONF = """\
[containers]
default_ulimits = ["nofile=20000:20000", "nproc=32768:32768"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "none"
"""
_CONTAINERD_CONF = """\
version = 2
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.internal.v1.opt"]
"""
# All that containerd and its shims write lies in these two places, and there only this namespace sees it.
_CONTAINERD = """\
mount --make-rshared /
ip link set lo up
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /var/lib
exec containerd --config "$1"
"""


def root_tar(scratch: Path) -> Path:
    """A root file system as a tar: busybox with some of its names."""
    root = scratch / "root"
    for name in ("bin", "etc", "tmp"):
        (root / name).mkdir(parents=True)
    shutil.copy2(BUSYBOX, root / "bin/busybox")
    for applet in ("sh", "cat", "sleep"):
        (root / "bin" / applet).symlink_to("busybox")
    made = scratch / "root.tar"
    with tarfile.open(made, "w") as tar:
        tar.add(root, ".")
    return made


class Podman:
    """podman with a store of its own."""

    def __init__(self, scratch: Path) -> None:
        self.scratch = scratch
        self.image = f"{IMAGE}:{TAG}"

    def start(self) -> Podman:
        (self.scratch / "containers.conf").write_text(_CONTAINERS_CONF, encoding="utf-8")
        self._podman("import", str(root_tar(self.scratch)), self.image)
        return self

    def run(self, name: str, command: Sequence[str], *options: str) -> None:
        """A container from its beginning to its end."""
        self._podman("run", "--rm", "--network=none", f"--name={name}", *options, self.image, *command)

    def start_one(self, name: str, command: Sequence[str], *options: str) -> None:
        """One that stays."""
        self._podman("run", "--detach", "--network=none", f"--name={name}", *options, self.image, *command)

    def stop(self) -> None:
        self._podman("rm", "--all", "--force", "--time=0", check=False)
        self._podman("rmi", "--all", "--force", check=False)

    def _podman(self, *words: str, check: bool = True) -> None:
        places = ["--root", str(self.scratch / "storage"), "--runroot", str(self.scratch / "run")]
        command = ["unshare", "--net", "--mount", "--propagation=private", "podman", *places, *words]
        _run(command, check, {**os.environ, "CONTAINERS_CONF": str(self.scratch / "containers.conf")})


class Containerd:
    """A containerd; `enter` is a command that goes before others to run them where it runs."""

    def __init__(self, scratch: Path) -> None:
        self.scratch = scratch
        self.image = f"{IMAGE}:{TAG}"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def enter(self) -> list[str]:
        assert self._process is not None
        return ["nsenter", f"--target={self._process.pid}", "--mount"]

    def start(self) -> Containerd:
        config = self.scratch / "config.toml"
        config.write_text(_CONTAINERD_CONF, encoding="utf-8")
        with (self.scratch / "containerd.log").open("wb") as log:
            self._process = subprocess.Popen(
                ["unshare", "--net", "--mount", "--propagation=private", "sh", "-euc", _CONTAINERD, "sh", str(config)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        ends = time.monotonic() + START_DEADLINE_S
        while not self._ctr("version", check=False):
            if time.monotonic() > ends or self._process.poll() is not None:
                raise RuntimeError((self.scratch / "containerd.log").read_text(encoding="utf-8", errors="replace"))
            time.sleep(0.05)
        self._ctr("images", "import", str(self._archive()))
        return self

    def run(self, name: str, command: Sequence[str], *options: str) -> None:
        """A container from its beginning to its end."""
        self._ctr("run", "--rm", *options, self.image, name, *command)

    def start_one(self, name: str, command: Sequence[str], *options: str) -> None:
        """One that stays."""
        self._ctr("run", "--detach", *options, self.image, name, *command)

    def stop(self) -> None:
        """Containers that `run` left half way, then the daemon; its files vanish with its namespace."""
        process = self._process
        if process is None:
            return
        if process.poll() is None:
            listed = _run([*self.enter, "ctr", "tasks", "list", "--quiet"], check=False).stdout.split()
            for name in listed:
                self._ctr("tasks", "delete", "--force", name, check=False)
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(COMMAND_DEADLINE_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _ctr(self, *words: str, check: bool = True) -> bool:
        return _run([*self.enter, "ctr", *words], check).returncode == 0

    def _archive(self) -> Path:
        """The image as `docker save` writes it."""
        layer = root_tar(self.scratch)
        diff_id = f"sha256:{hashlib.sha256(layer.read_bytes()).hexdigest()}"
        machine = os.uname().machine
        config = {
            "architecture": {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine),
            "os": "linux",
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": [diff_id]},
        }
        manifest = [{"Config": "config.json", "RepoTags": [self.image], "Layers": ["layer.tar"]}]
        made = self.scratch / "image.tar"
        with tarfile.open(made, "w") as tar:
            tar.add(layer, "layer.tar")
            for name, content in (("config.json", config), ("manifest.json", manifest)):
                file = self.scratch / name
                file.write_text(json.dumps(content), encoding="utf-8")
                tar.add(file, name)
        return made


def _run(
    command: Sequence[str], check: bool = True, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=COMMAND_DEADLINE_S,
        env=environment, cwd="/", check=False,
    )  # fmt: skip
    if check and done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done
