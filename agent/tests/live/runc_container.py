# SPDX-License-Identifier: Apache-2.0
"""A real container for the live tests: runc over a busybox root file system on overlayfs.

A scratch directory becomes a running container whose id shows in its cgroup path as docker's would. Invariant: what
`start` made (container, mount, cgroup directories) `stop` removes, also when `start` got only half way.
"""

from __future__ import annotations

import json
import os
import pty
import secrets
import select
import shutil
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

CGROUP_PARENT = "docker"
CGROUP_ROOT = Path("/sys/fs/cgroup")
BUSYBOX = "/usr/bin/busybox"
CAPABILITIES = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_KILL",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SYS_CHROOT",
]
COMMAND_DEADLINE_S = 30.0


class Container:
    """One container; `full_id` is 64 hex digits, `id` what rules show of it."""

    def __init__(
        self,
        scratch: Path,
        programs: Mapping[str, Path] | None = None,
        state: Path | None = None,
        command: Sequence[str] = ("/bin/sleep", "1000000"),
    ) -> None:
        """`programs`: files to put into the image, by their path in it. `state`: where runc keeps its own.

        The latter is at the usual place unless it is given.
        """
        self.scratch = scratch
        self._programs = programs or {}
        self.full_id = secrets.token_hex(32)
        self.id = self.full_id[:12]
        self.root = scratch / "merged"
        self.lower = scratch / "lower"
        self._state = state or Path("/run/runc")
        self._command = list(command)
        self._bundle = scratch / "bundle"
        self._mounted = False

    def start(self) -> Container:
        """Make the root file system, mount it, run the first process."""
        self._make_image()
        for name in ("upper", "work", "merged", "bundle"):
            (self.scratch / name).mkdir()
        options = f"lowerdir={self.lower},upperdir={self.scratch / 'upper'},workdir={self.scratch / 'work'}"
        _run(["mount", "-t", "overlay", "overlay", "-o", options, str(self.root)])
        self._mounted = True
        (self._bundle / "config.json").write_text(json.dumps(self._spec(), indent=1), encoding="utf-8")
        log = self.scratch / "runc.log"
        with log.open("wb") as out:  # the container keeps these open: pipes would never end
            done = subprocess.run(
                [*self._runc(), "run", "--detach", "--bundle", str(self._bundle), self.full_id],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                timeout=COMMAND_DEADLINE_S,
                check=False,
            )
        if done.returncode != 0:
            raise RuntimeError(f"runc run failed: {log.read_text(encoding='utf-8', errors='replace')}")
        return self

    def stop(self) -> None:
        """Remove all of it; safe to call at any point, and twice."""
        subprocess.run(
            [*self._runc(), "delete", "--force", self.full_id],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=COMMAND_DEADLINE_S,
            check=False,
        )
        if self._mounted:
            umount = ["umount", str(self.root)]
            if subprocess.run(umount, capture_output=True, check=False).returncode != 0:
                subprocess.run(["umount", "--lazy", str(self.root)], capture_output=True, check=False)
            self._mounted = False
        for parent in self._cgroup_parents():
            try:
                parent.rmdir()  # fails when another container lives below it; a runtime makes it anew when it needs it
            except OSError:
                continue

    def exec(self, *args: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """Run a program inside, without a terminal, and wait for it."""
        settings = [word for key, value in (env or {}).items() for word in ("--env", f"{key}={value}")]
        return subprocess.run(
            [*self._runc(), "exec", *settings, self.full_id, *args],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=COMMAND_DEADLINE_S,
            check=False,
        )

    def exec_terminal(self, *args: str) -> str:
        """Run a program inside with a terminal of its own and give what it printed."""
        return run_on_terminal([*self._runc(), "exec", "--tty", self.full_id, *args])

    def start_exec(self, *args: str) -> subprocess.Popen[bytes]:
        """Start a program inside and leave it running; the caller ends it."""
        return subprocess.Popen(
            [*self._runc(), "exec", self.full_id, *args],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def pid(self) -> int:
        """The first process, as the host numbers it."""
        state = json.loads(_run([*self._runc(), "state", self.full_id]).stdout)
        return int(state["pid"])

    def _runc(self) -> list[str]:
        return ["runc", "--root", str(self._state)]

    def _make_image(self) -> None:
        for name in ("bin", "etc", "tmp", "proc", "sys", "dev", "root", "usr/bin", "var/log"):
            (self.lower / name).mkdir(parents=True)
        shutil.copy2(BUSYBOX, self.lower / "bin/busybox")
        for applet in (
            "sh",
            "ash",
            "cat",
            "cp",
            "ln",
            "ls",
            "nc",
            "sleep",
            "true",
            "ip",
            "mkdir",
            "mv",
            "rm",
            "grep",
            "find",
        ):
            (self.lower / "bin" / applet).symlink_to("busybox")
        for path, source in self._programs.items():
            shutil.copy2(source, self.lower / path)
        (self.lower / "etc/passwd").write_text(
            "root:x:0:0:root:/root:/bin/sh\nwww:x:33:33::/:/bin/sh\n", encoding="utf-8"
        )
        (self.lower / "etc/group").write_text("root:x:0:\nwww:x:33:\n", encoding="utf-8")
        shadow = self.lower / "etc/shadow"
        shadow.write_text("root:!:19000:0:99999:7:::\n", encoding="utf-8")
        shadow.chmod(0o600)
        (self.lower / "etc/hosts").write_text("127.0.0.1 localhost\n", encoding="utf-8")

    def _spec(self) -> dict[str, object]:
        template = self.scratch / "template"
        template.mkdir()
        _run(["runc", "spec", "--bundle", str(template)])
        spec = json.loads((template / "config.json").read_text(encoding="utf-8"))
        process = spec["process"]
        process["terminal"] = False
        process["args"] = self._command
        process["capabilities"] = dict.fromkeys(("bounding", "effective", "permitted"), CAPABILITIES)
        process["rlimits"] = []  # raising them takes a right that not every machine gives
        process["noNewPrivileges"] = False
        spec["root"] = {"path": str(self.root), "readonly": False}
        spec["hostname"] = "live-test"
        # noexec would turn every attack from /dev/shm into a permission error.
        for mount in spec["mounts"]:
            if mount["destination"] == "/dev/shm":
                mount["options"] = [option for option in mount["options"] if option != "noexec"]
        spec["linux"]["cgroupsPath"] = f"/{CGROUP_PARENT}/{self.full_id}"
        return dict(spec)

    @staticmethod
    def _cgroup_parents() -> list[Path]:
        places = [CGROUP_ROOT / CGROUP_PARENT, *CGROUP_ROOT.glob(f"*/{CGROUP_PARENT}")]
        return [place for place in places if place.is_dir()]


def run_on_terminal(command: list[str], deadline_s: float = COMMAND_DEADLINE_S) -> str:
    """Run `command` with a new terminal as its three streams; what it printed."""
    master, slave = pty.openpty()
    try:
        process = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, start_new_session=True)
    finally:
        os.close(slave)
    printed = bytearray()
    ends = time.monotonic() + deadline_s
    try:
        while time.monotonic() < ends:
            ready, _, _ = select.select([master], [], [], 0.1)
            if not ready:
                if process.poll() is not None:
                    break
                continue
            try:
                chunk = os.read(master, 65536)
            except OSError:  # EIO: the last user of the terminal is gone
                break
            if not chunk:
                break
            printed += chunk
        process.wait(timeout=max(0.1, ends - time.monotonic()))
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        os.close(master)
    return printed.decode(errors="replace")


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=COMMAND_DEADLINE_S, check=False
    )
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")
    return done
