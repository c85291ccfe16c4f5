# SPDX-License-Identifier: Apache-2.0
"""Kernel, capabilities and settings become findings: may programs be loaded here, and do they see all processes?

Invariant: nothing is changed; the one object that is made (a map of the kernel, to try bpf(2)) is closed at once.
"""

from __future__ import annotations

import errno
import os
import platform
import re
import resource
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ..kernel import bpf, host
from .finding import Check, cannot, fine, warn

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .finding import Finding, Question

MACHINES: Final = ("x86_64", "aarch64")
CAPABILITIES: Final = {"DAC_READ_SEARCH": 2, "SYS_PTRACE": 19, "SYS_ADMIN": 21, "SYS_RESOURCE": 24, "PERFMON": 38,
                       "BPF": 39}  # fmt: skip
_OF_PROCESSES: Final = ("SYS_PTRACE", "DAC_READ_SEARCH")
_CGROUP_MEMORY: Final = (5, 11)  # from here on memory of maps is charged to the cgroup, not to RLIMIT_MEMLOCK
_LOCKED_MIB: Final = 96  # rings, tables and programs, roughly
_MAP_CREATE, _ARRAY = 0, 2
_ROOT: Final = "run it as root (sudo), or give it CAP_BPF and CAP_PERFMON (in a pod: securityContext.capabilities)"


def _kernel(question: Question) -> Iterator[Finding]:
    version, (major, minor) = host.kernel_version(), host.FLOOR
    if version < host.FLOOR:
        question.forbidden.append("kernel")
        yield cannot("kernel", f"{platform.release()} is older than {major}.{minor}", "boot a newer kernel")
    else:
        yield fine("kernel", f"{platform.release()}, and {major}.{minor} is enough")


def _machine(question: Question) -> Iterator[Finding]:
    if platform.machine() not in MACHINES:
        question.forbidden.append("architecture")
        yield cannot("architecture", f"{platform.machine()} has no BPF object", f"use one of {', '.join(MACHINES)}")
    else:
        yield fine("architecture", platform.machine())


def _btf(question: Question) -> Iterator[Finding]:
    if not os.access(host.BTF, os.R_OK):
        question.forbidden.append("kernel types")
        yield cannot(
            "kernel types",
            f"{host.BTF} is missing or not readable",
            "boot a kernel built with CONFIG_DEBUG_INFO_BTF=y; in a container, mount /sys/kernel/btf of the host",
        )
    else:
        yield fine("kernel types", f"{host.BTF}, {os.stat(host.BTF).st_size >> 10} KiB")


def capability_sets(status: str) -> tuple[int, int]:
    """The effective and the bounding set in a text of /proc/PID/status."""
    found = dict(re.findall(r"^Cap(Eff|Bnd):\s*([0-9a-f]+)$", status, re.MULTILINE))
    return int(found["Eff"], 16), int(found["Bnd"], 16)


def _has(bits: int, name: str) -> bool:
    return bool(bits & 1 << CAPABILITIES[name])


def _may_load(bits: int) -> bool:
    return _has(bits, "SYS_ADMIN") or (_has(bits, "BPF") and _has(bits, "PERFMON"))


def _capabilities(question: Question) -> Iterator[Finding]:
    effective, bounding = capability_sets(Path("/proc/self/status").read_text())
    who = "root" if os.geteuid() == 0 else f"user {os.geteuid()}"
    if not _may_load(effective):
        question.forbidden.append("capabilities")
        missing = " and ".join(f"CAP_{name}" for name in ("BPF", "PERFMON") if not _has(effective, name))
        taken = "" if _may_load(bounding) else ", and its bounding set keeps it from getting them"
        yield cannot("capabilities", f"{who} without {missing or 'CAP_SYS_ADMIN'}{taken}", _ROOT)
    else:
        names = "CAP_BPF, CAP_PERFMON" if _has(effective, "BPF") and _has(effective, "PERFMON") else "CAP_SYS_ADMIN"
        yield fine("capabilities", f"{who} with {names}: programs may be loaded")
    missing = ", ".join(f"CAP_{name}" for name in _OF_PROCESSES if not _has(effective, name))
    if missing:
        yield warn(
            "capabilities",
            f"without {missing}: working directories, programs and open files of others cannot be read from /proc",
            f"give it {missing} as well",
        )
    else:
        yield fine("capabilities", "CAP_SYS_PTRACE, CAP_DAC_READ_SEARCH: facts of other users' processes can be read")


def _word(path: str) -> str:
    """The word in brackets, or the text; empty where the file is not there."""
    try:
        text = Path(path).read_text().strip()
    except OSError:
        return ""
    chosen = re.search(r"\[(\w+)\]", text)
    return chosen.group(1) if chosen else text


def _make_map() -> None:
    """As loading begins: an array of one entry, closed at once. Raises OSError."""
    made, _ = bpf.call(_MAP_CREATE, struct.pack("=IIII", _ARRAY, 4, 8, 1))
    os.close(made)


def _bpf(question: Question) -> Iterator[Finding]:
    """bpf(2) itself, and what of the kernel's settings could forbid it."""
    lockdown = _word("/sys/kernel/security/lockdown") or "not known"
    seccomp = dict(re.findall(r"^(Seccomp):\s*(\d)$", Path("/proc/self/status").read_text(), re.MULTILINE))
    filtered = seccomp.get("Seccomp", "0") != "0"
    setting = _word("/proc/sys/kernel/unprivileged_bpf_disabled") or "not known"
    facts = f"lockdown {lockdown}, seccomp {'on' if filtered else 'off'}, unprivileged_bpf_disabled {setting}"
    if platform.machine() not in MACHINES:
        return
    try:
        _make_map()
    except OSError as error:
        if "capabilities" in question.forbidden and error.errno == errno.EPERM:
            yield cannot("bpf(2)", f"refused, as the capabilities are missing; {facts}", _ROOT)
            return
        question.forbidden.append("bpf(2)")
        cause = "a seccomp profile forbids it" if filtered else "the kernel or a security module forbids it"
        yield cannot(
            "bpf(2)",
            f"refused: {error.strerror}; {facts}",
            f"{cause}: allow bpf(2) in the profile (Docker: --security-opt seccomp=..., Kubernetes: seccompProfile), "
            "and check that the kernel has CONFIG_BPF_SYSCALL",
        )
        return
    if lockdown == "confidentiality":
        question.forbidden.append("lockdown")
        yield cannot("bpf(2)", f"programs may not read kernel memory; {facts}",
                     "boot with lockdown=integrity, or without lockdown")  # fmt: skip
        return
    yield fine("bpf(2)", f"works; {facts}")


def _jit(_question: Question) -> Iterator[Finding]:
    setting = _word("/proc/sys/net/core/bpf_jit_enable")
    if not setting:
        yield fine("BPF JIT", "not visible here: its setting is shown in the host's network namespace only")
    elif setting == "0":
        yield warn("BPF JIT", "off: programs are interpreted, which makes every system call slower",
                   "sysctl -w net.core.bpf_jit_enable=1")  # fmt: skip
    else:
        yield fine("BPF JIT", f"on (net.core.bpf_jit_enable = {setting})")


def _locked_memory(_question: Question) -> Iterator[Finding]:
    if host.kernel_version() >= _CGROUP_MEMORY:
        return
    effective, _ = capability_sets(Path("/proc/self/status").read_text())
    soft, hard = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    enough = _LOCKED_MIB << 20
    if soft == resource.RLIM_INFINITY or soft >= enough or _has(effective, "SYS_RESOURCE"):
        yield fine("locked memory", "the limit is high enough, or the agent may raise it")
    else:
        yield warn("locked memory", f"RLIMIT_MEMLOCK is {soft >> 10} KiB (at most {hard >> 10} KiB)",
                   "LimitMEMLOCK=infinity in the unit, or `ulimit -l unlimited`")  # fmt: skip


CHECKS: Final = (
    Check("kernel", _kernel),
    Check("architecture", _machine),
    Check("kernel types", _btf),
    Check("capabilities", _capabilities),
    Check("bpf(2)", _bpf),
    Check("BPF JIT", _jit),
    Check("locked memory", _locked_memory),
)
