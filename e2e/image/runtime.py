# SPDX-License-Identifier: Apache-2.0
"""A base of debootstrap becomes the agent's image, and the image containers, in a storage of podman of its own.

Containers run in network and mount namespaces that one process holds, as podman changes both; only the build has the
host's network. Invariant: `close` ends and removes everything; nothing outside of `scratch` and the cache is written.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from e2e.host.container import (
    CAPABILITIES,
    distribution,
    mirror,
    until,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

ROOT: Final = Path(__file__).resolve().parents[2]
BASE: Final = "localhost/falco-py-base:slim"
# Long, as podman waits for the disk of a machine that builds other things.
BUILD_S: Final = 1800.0
COMMAND_S: Final = 240.0
LINE_S: Final = 60.0

# The rights of the DaemonSet: nothing but the four capabilities, and nowhere to write. podman 4.3's own seccomp
# profile allows bpf(2) only with CAP_SYS_ADMIN.
CONFINED: Final = (
    "--read-only", "--read-only-tmpfs=false", "--cap-drop=ALL", f"--cap-add={CAPABILITIES}",
    "--security-opt=seccomp=unconfined", "--security-opt=no-new-privileges",
    "--volume=/sys/kernel/btf:/sys/kernel/btf:ro",
)  # fmt: skip
_CONF: Final = """\
[containers]
default_ulimits = ["nofile=20000:20000", "nproc=32768:32768"]
log_driver = "k8s-file"
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "none"
"""


def slim() -> Path:
    """A tree of this distribution with what dpkg and apt need; made (in half a minute) when it is not in the cache."""
    codename = distribution()["VERSION_CODENAME"]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "falco-py"
    tree = cache / f"{codename}-slim"
    if tree.exists():
        return tree
    cache.mkdir(parents=True, exist_ok=True)
    fresh = tree.with_suffix(".new")
    shutil.rmtree(fresh, ignore_errors=True)
    _done(["debootstrap", "--variant=minbase", codename, str(fresh), mirror(codename)], BUILD_S)
    for pattern in ("var/cache/apt/archives/*.deb", "var/cache/apt/*.bin", "var/lib/apt/lists/*"):
        for path in fresh.glob(pattern):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    fresh.rename(tree)
    return tree


class Runtime:
    """podman with the image `name`, once `build` has returned; `archive` holds it as docker-archive."""

    def __init__(self, scratch: Path) -> None:
        self.scratch = scratch
        self.name = ""
        self.archive = scratch / "falco-py.tar"
        self._environment = {**os.environ, "CONTAINERS_CONF": str(scratch / "containers.conf")}
        self._places = ["--root", str(scratch / "storage"), "--runroot", str(scratch / "run")]
        (scratch / "containers.conf").write_text(_CONF, encoding="utf-8")
        self._holder = subprocess.Popen(
            ["unshare", "--net", "--mount", "--propagation=private", "sh", "-c",
             "ip link set lo up && echo up && exec sleep infinity"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self._holder.stdout is not None
        assert self._holder.stdout.readline() == "up\n"

    def build(self, tree: Path) -> str:
        """The image on `tree` as base; what the script printed. Raises RuntimeError."""
        with subprocess.Popen(["tar", "-C", str(tree), "-c", "."], stdout=subprocess.PIPE) as packed:
            self.podman("import", "-", BASE, stdin=packed.stdout, timeout_s=BUILD_S)
        tool = ["unshare", "--mount", "--propagation=private", "podman", *self._places]
        environment = {**self._environment, "IMAGE_TOOL": " ".join(tool), "BASE": BASE}
        said = _done(["sh", str(ROOT / "scripts/image.sh"), str(self.archive)], BUILD_S, environment)
        found = re.search(r"^image: (\S+): its layers", said, re.MULTILINE)
        assert found, said
        self.name = found[1]
        return said

    def inside(self, *command: str, timeout_s: float = COMMAND_S) -> str:
        """Runs a command of the host in the namespaces of the containers; what it printed. Raises RuntimeError."""
        enter = ["nsenter", f"--target={self._holder.pid}", "--net", "--mount", "--"]
        return _done([*enter, *command], timeout_s, self._environment)

    def podman(self, *words: str, stdin: Any = subprocess.DEVNULL, timeout_s: float = COMMAND_S) -> str:
        """What podman printed. Raises RuntimeError."""
        enter = ["nsenter", f"--target={self._holder.pid}", "--net", "--mount", "--"]
        return _done([*enter, "podman", *self._places, *words], timeout_s, self._environment, stdin)

    def inspect(self, name: str) -> dict[str, Any]:
        """Of an image or a container."""
        found: dict[str, Any] = json.loads(self.podman("inspect", name))[0]
        return found

    def run(self, *command: str, options: Sequence[str] = CONFINED, entrypoint: str = "") -> str:
        """What a container of the image printed until its end. Raises RuntimeError when it failed."""
        given = [f"--entrypoint={entrypoint}"] if entrypoint else []
        return self.podman("run", "--rm", "--network=host", "--pid=host", *options, *given, self.name, *command)

    def start(self, *arguments: str, options: Sequence[str] = (), host_pids: bool = True) -> Agent:
        """The agent, when it watches. Raises AssertionError."""
        name = f"falco-py-{secrets.token_hex(4)}"
        pids = ["--pid=host"] if host_pids else []
        self.podman("run", "--detach", "--name", name, "--network=host", *pids, *CONFINED, *options, self.name,
                    *arguments)  # fmt: skip
        agent = Agent(self, name)
        agent.expect("Capture started")
        return agent

    def close(self) -> None:
        """Removes all of it; safe at any point, and twice."""
        if self._holder.poll() is None:
            with contextlib.suppress(RuntimeError):
                self.podman("rm", "--all", "--force", "--time=0")
            self._holder.kill()
        self._holder.wait(COMMAND_S)
        assert self._holder.stdout is not None
        self._holder.stdout.close()
        shutil.rmtree(self.scratch, ignore_errors=True)


class Agent:
    """A running container."""

    def __init__(self, runtime: Runtime, name: str) -> None:
        self.name = name
        self._runtime = runtime

    def lines(self, *texts: str) -> list[str]:
        """The lines of its log that have all of these."""
        said = self._runtime.podman("logs", self.name).splitlines()
        return [line for line in said if all(text in line for text in texts)]

    def expect(self, *texts: str, act: Callable[[], object] = lambda: None) -> str:
        """The first line with all of `texts`; `act` is done until it is there. Raises AssertionError."""

        def look() -> str | None:
            act()
            return next(iter(self.lines(*texts)), None)

        return until(look, LINE_S, lambda: f"no line with {texts}:\n" + "\n".join(self.lines()[-30:]))

    def run(self, *command: str) -> str:
        """What a command in the container printed. Raises RuntimeError."""
        return self._runtime.podman("exec", self.name, *command)

    def stop(self, signal: str = "TERM") -> int:
        """Its exit code after a signal."""
        self._runtime.podman("kill", f"--signal={signal}", self.name)
        return int(self._runtime.podman("wait", self.name))

    def remove(self) -> None:
        self._runtime.podman("rm", "--force", "--time=0", "--ignore", self.name)


def _done(
    command: Sequence[str], timeout_s: float, environment: dict[str, str] | None = None, stdin: Any = subprocess.DEVNULL
) -> str:
    """Standard output; of logs also standard error, which is half of them. Raises RuntimeError."""
    done = subprocess.run(
        command, stdin=stdin, capture_output=True, text=True, errors="replace", timeout=timeout_s, env=environment,
        check=False,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.returncode}\n{done.stdout[-4000:]}{done.stderr[-4000:]}")
    return done.stdout + (done.stderr if "logs" in command else "")
