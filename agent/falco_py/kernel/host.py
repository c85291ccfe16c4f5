# SPDX-License-Identifier: Apache-2.0
"""What this machine can do, asked before anything is loaded, so that a refusal says what to mend.

Invariant: nothing here changes the machine.
"""

from __future__ import annotations

import os
import platform
from pathlib import Path

BTF = Path("/sys/kernel/btf/vmlinux")
FLOOR = (5, 8)  # ring buffer and BTF tracing (Linux 5.8)

_CAP_SYS_ADMIN, _CAP_PERFMON, _CAP_BPF = 21, 38, 39


class HostError(Exception):
    """The machine cannot run the agent; `remedy` says what to do."""

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message}\n  What to do: {self.remedy}"


def effective_capabilities() -> int:
    """The bit set of /proc/self/status; all bits when it cannot be read (the load then tells)."""
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("CapEff:"):
                return int(line.split()[1], 16)
    except (OSError, ValueError, IndexError):
        pass
    return -1


def kernel_version() -> tuple[int, int]:
    parts = platform.release().split(".")
    try:
        return int(parts[0]), int(parts[1].split("-")[0])
    except (ValueError, IndexError):
        return FLOOR


def check(btf: Path = BTF) -> None:
    """Raises HostError when capabilities, kernel version, BTF or the machine are not enough."""
    caps = effective_capabilities()
    admin = caps & 1 << _CAP_SYS_ADMIN
    if not admin and not (caps & 1 << _CAP_BPF and caps & 1 << _CAP_PERFMON):
        who = "not root" if os.geteuid() else "root, but without the capabilities"
        raise HostError(
            f"falco-py may not load eBPF programs: it runs as {who}.",
            "run it as root (sudo), or give it CAP_BPF, CAP_PERFMON, CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH.",
        )
    version = kernel_version()
    if version < FLOOR:
        raise HostError(
            f"this kernel is {platform.release()}; falco-py needs Linux {FLOOR[0]}.{FLOOR[1]} or newer.",
            "boot a newer kernel.",
        )
    if not os.access(btf, os.R_OK):
        raise HostError(
            f"this kernel does not tell its types: {btf} is missing or not readable.",
            "boot a kernel built with CONFIG_DEBUG_INFO_BTF=y (every current distribution's is); in a container, mount "
            "/sys/kernel/btf from the host.",
        )
    if platform.machine() not in ("x86_64", "aarch64"):
        raise HostError(f"no BPF object for {platform.machine()}.", "x86_64 and aarch64 are supported.")
