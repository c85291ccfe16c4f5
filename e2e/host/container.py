# SPDX-License-Identifier: Apache-2.0
"""A directory tree of this distribution becomes a machine that systemd boots, in a container of podman.

The tree comes from debootstrap, once (a minute), and stays in the user's cache; each machine writes to a layer of its
own over it. Everything of podman happens in network and mount namespaces of its own. Invariant: what `start` made,
`stop` removes, also when `start` got only half way; nothing outside of `scratch` and the cache is written.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import shutil
import signal
import subprocess
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from e2e.waiting import until

if TYPE_CHECKING:
    from collections.abc import Sequence

T = TypeVar("T")

COMMAND_S: Final = 60.0
BOOT_S: Final = 30.0
LINE_S: Final = 15.0
_DEBOOTSTRAP_S: Final = 900.0
_STEP_S: Final = 0.05

# What a small server has, and python3 as the package wants it; no compiler.
PACKAGES: Final = ("systemd-sysv", "dbus", "procps", "logrotate", "ca-certificates", "bash-completion")
CAPABILITIES: Final = "BPF,PERFMON,SYS_PTRACE,DAC_READ_SEARCH"

_CONF: Final = """\
[containers]
default_ulimits = ["nofile=20000:20000", "nproc=32768:32768"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "none"
"""


@dataclass(frozen=True)
class Line:
    """One entry of the journal; `priority` is syslog's number, `source` how it got there (syslog, stdout, journal)."""

    text: str
    priority: int
    source: str


def distribution() -> dict[str, str]:
    """The lines of /etc/os-release."""
    lines = Path("/etc/os-release").read_text(encoding="utf-8").splitlines()
    return {name: value.strip('"') for name, _, value in (line.partition("=") for line in lines if line)}


def image(python: str) -> Path:
    """The tree, made when it is not in the cache. `python`: the target's package, such as python3.11."""
    codename = distribution()["VERSION_CODENAME"]
    wanted = ",".join((*PACKAGES, python))
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "falco-py"
    tree = cache / f"{codename}-{hashlib.sha256(wanted.encode()).hexdigest()[:12]}"
    if tree.exists():
        return tree
    cache.mkdir(parents=True, exist_ok=True)
    fresh = tree.with_suffix(".new")
    shutil.rmtree(fresh, ignore_errors=True)
    command = ["debootstrap", "--variant=minbase", f"--include={wanted}", codename, str(fresh), mirror(codename)]
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_DEBOOTSTRAP_S, check=False
    )
    if done.returncode:
        raise RuntimeError(f"debootstrap failed:\n{done.stdout[-4000:]}{done.stderr[-4000:]}")
    for pattern in ("var/cache/apt/archives/*.deb", "var/cache/apt/*.bin", "var/lib/apt/lists/*"):
        for path in fresh.glob(pattern):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    # Nobody needs these machines after a crash, and waiting for the disk is most of an installation's time.
    (fresh / "etc/dpkg/dpkg.cfg.d/unsafe-io").write_text("force-unsafe-io\n")
    fresh.rename(tree)
    return tree


def mirror(codename: str) -> str:
    """Where apt of this machine gets the release from."""
    asked = ["apt-get", "indextargets", "--format", "$(RELEASE) $(SITE)", "Created-By: Packages"]
    shown = subprocess.run(asked, capture_output=True, text=True, check=True, timeout=COMMAND_S).stdout
    for line in shown.splitlines():
        release, _, site = line.partition(" ")
        if release == codename:
            return site
    raise RuntimeError(f"apt knows no mirror of {codename}: run apt-get update")


# What is nobody's, or systemd's, apt's and dpkg's.
_ELSEWHERE: Final = ("/run/", "/tmp/", "/var/cache/", "/var/lib/apt/", "/var/lib/dpkg/", "/var/lib/logrotate/",
                     "/var/lib/systemd/", "/var/log/apt/", "/var/log/dpkg.log", "/var/log/alternatives.log",
                     "/var/log/journal/", "/var/tmp/")  # fmt: skip


def changes(before: dict[str, str], after: dict[str, str]) -> dict[str, tuple[str | None, str | None]]:
    """Files that are other than before, with what they were and what they are, in the places that a package has."""
    return {
        path: (before.get(path), after.get(path))
        for path in before.keys() | after.keys()
        if before.get(path) != after.get(path) and not path.startswith(_ELSEWHERE)
    }


class Machine:
    """One booted machine. `/dist` in it is the directory of packages, read-only."""

    def __init__(self, scratch: Path, tree: Path, dist: Path, mounts: Sequence[tuple[Path, str]] = ()) -> None:
        """`mounts`: more directories, read-only, with their places."""
        self.scratch = scratch
        self.name = f"falco-py-{secrets.token_hex(4)}"
        self._tree = tree
        self._mounts = [(dist, "/dist"), (Path("/sys/kernel/btf"), "/sys/kernel/btf"), *mounts]
        self._journal: Journal | None = None

    def start(self) -> Machine:
        """Boots it, with the rights that an eBPF agent needs and no more. Raises RuntimeError."""
        (self.scratch / "containers.conf").write_text(_CONF, encoding="utf-8")
        self._podman("run", "--detach", "--name", self.name, "--hostname", "node", "--systemd=always",
                     "--network=none", f"--cap-add={CAPABILITIES}", "--security-opt=seccomp=unconfined",
                     *(f"--volume={source}:{place}:ro" for source, place in self._mounts),
                     "--rootfs", f"{self._tree}:O", "/lib/systemd/systemd")  # fmt: skip
        until(lambda: self.run("systemctl", "is-system-running", check=False).stdout.strip() == "running", BOOT_S,
              lambda: "not booted: " + self.run("systemctl", "--failed", check=False).stdout)  # fmt: skip
        return self

    def stop(self) -> None:
        """Removes all of it; safe at any point, and twice."""
        if self._journal is not None:
            self._journal.close()
            self._journal = None
        if (self.scratch / "containers.conf").exists():
            self._podman("rm", "--force", "--time=0", "--ignore", self.name)
        shutil.rmtree(self.scratch, ignore_errors=True)

    def run(
        self, *command: str, check: bool = True, text: str = "", timeout_s: float = COMMAND_S
    ) -> subprocess.CompletedProcess[str]:
        """Runs a command in it; `text` is its standard input. Raises RuntimeError when it fails and `check`."""
        return self._podman("exec", "--interactive", self.name, *command, check=check, text=text, timeout_s=timeout_s)

    def shell(self, script: str, *words: str) -> str:
        """Runs a script of sh with `words` as $1 and so on; what it printed."""
        return self.run("sh", "-euc", script, "sh", *words).stdout

    def write(self, path: str, text: str) -> None:
        """Saves a file as an editor does: beside, then in its place."""
        self.run("sh", "-euc", 'cat >"$1.new"; mv "$1.new" "$1"', "sh", path, text=text)

    def journal(self) -> Journal:
        """What the service and systemd say about it, from the beginning on."""
        if self._journal is None:
            self._journal = Journal(
                self._command(
                    "exec", self.name, "journalctl", "--unit=falco", "--follow", "--lines=all", "--output=json"
                ),
                self._environment(),
            )
        return self._journal

    def files(self) -> dict[str, str]:
        """All files of its own file system: path to type, mode, owner and target."""
        shown = self.run("find", "/", "-xdev", "-printf", r"%p\t%y %m %U:%G %l\n").stdout
        return dict(line.split("\t", 1) for line in shown.splitlines())

    def _command(self, *words: str) -> list[str]:
        places = ["--root", str(self.scratch / "storage"), "--runroot", str(self.scratch / "run")]
        return ["unshare", "--net", "--mount", "--propagation=private", "podman", *places, *words]

    def _environment(self) -> dict[str, str]:
        return {**os.environ, "CONTAINERS_CONF": str(self.scratch / "containers.conf")}

    def _podman(
        self, *words: str, check: bool = True, text: str = "", timeout_s: float = COMMAND_S
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            self._command(*words), input=text, capture_output=True, text=True, errors="replace", timeout=timeout_s,
            env=self._environment(), check=False,
        )  # fmt: skip
        if check and done.returncode:
            raise RuntimeError(f"{' '.join(words)}: {done.returncode}\n{done.stdout[-4000:]}{done.stderr[-4000:]}")
        return done


class Journal:
    """The lines of the journal as they come."""

    def __init__(self, command: Sequence[str], environment: dict[str, str]) -> None:
        self.lines: list[Line] = []
        self._process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment,
            start_new_session=True,
        )  # fmt: skip
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def mark(self) -> int:
        """A place in the journal: now."""
        return len(self.lines)

    def find(self, *texts: str, after: int = 0) -> list[Line]:
        return [line for line in self.lines[after:] if all(text in line.text for text in texts)]

    def expect(self, *texts: str, after: int = 0, deadline_s: float = LINE_S) -> Line:
        """The first line with all of `texts`, when it comes. Raises AssertionError."""
        return until(
            lambda: next(iter(self.find(*texts, after=after)), None), deadline_s,
            lambda: f"no line with {texts}:\n{self.tail()}",
        )  # fmt: skip

    def tail(self, count: int = 30) -> str:
        return "\n".join(f"  <{line.priority}> {line.text}" for line in self.lines[-count:])

    def close(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(COMMAND_S)
        self._thread.join(COMMAND_S)

    def _read(self) -> None:
        assert self._process.stdout is not None
        for raw in self._process.stdout:
            entry: dict[str, Any] = json.loads(raw)
            text = entry.get("MESSAGE")
            if isinstance(text, list):  # bytes that are not all printable
                text = bytes(text).decode("utf-8", "replace")
            self.lines.append(Line(str(text), int(entry.get("PRIORITY", 6)), entry.get("_TRANSPORT", "")))
