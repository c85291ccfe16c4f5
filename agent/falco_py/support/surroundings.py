# SPDX-License-Identifier: Apache-2.0
"""What is around the agent becomes findings: other processes, the clock, watched files, systemd.

Invariant: only files are read, and one program of systemd's is asked with a time-out.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from .finding import Check, cannot, fine, warn

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .finding import Finding, Question

HOST_PIDS: Final = "pid:[4026531836]"  # PROC_PID_INIT_INO, include/linux/proc_ns.h
_MOST_PROCESSES: Final = 5000
_FEW: Final = 3  # processes that a sandbox or a security module may keep to itself
_ASK_S: Final = 3.0
_OLDEST_S: Final = 1_735_689_600  # 2025: a clock before it is wrong
_SETTERS: Final = frozenset(["chronyd", "ntpd", "ntpsec", "openntpd", "systemd-timesyn", "ptp4l", "phc2sys"])
_ZONE: Final = "/etc/localtime"


def _pids(proc: str) -> list[int]:
    return sorted(int(name) for name in os.listdir(proc) if name.isdigit())[:_MOST_PROCESSES]


def _processes(question: Question) -> Iterator[Finding]:
    proc = question.host("/proc")
    try:
        pids = _pids(proc)
    except OSError as error:
        yield cannot("/proc", f"{proc} cannot be read: {error.strerror}",
                     "mount the host's /proc there, or unset HOST_ROOT")  # fmt: skip
        return
    denied = []
    for pid in pids:
        try:
            os.readlink(f"{proc}/{pid}/exe")
        except PermissionError:
            denied.append(pid)
        except OSError:  # it has ended, or is a thread of the kernel
            continue
    hidden = _mount_option(proc, "hidepid")
    if not pids:
        yield cannot("/proc", f"{proc} shows no process", "mount the host's /proc there, or unset HOST_ROOT")
    elif len(denied) > _FEW or hidden not in ("", "0", "off"):
        why = f", mounted with hidepid={hidden}" if hidden else ""
        yield warn("/proc", f"{proc}: the facts of {len(denied)} of {len(pids)} processes cannot be read{why}",
                   "run as root with CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH; mount /proc without hidepid")  # fmt: skip
    else:
        but = f", but not of pid {', '.join(map(str, denied))}, which something protects" if denied else ""
        yield fine("/proc", f"{proc}: the facts of {len(pids) - len(denied)} processes can be read{but}")


def _mount_option(directory: str, name: str) -> str:
    """The value of an option of the file system mounted there; empty when it has none."""
    found = ""
    with suppress(OSError):
        for line in Path("/proc/self/mounts").read_text().splitlines():
            _, where, _, options, *_ = line.split(" ")
            if where == os.path.normpath(directory):
                found = next((one.partition("=")[2] for one in options.split(",") if one.startswith(f"{name}=")), "")
    return found


def _namespace(question: Question) -> Iterator[Finding]:
    own = os.readlink("/proc/self/ns/pid")
    if own == HOST_PIDS:
        yield fine("pid namespace", "the host's: processes are numbered as the kernel tells them")
        return
    proc = question.host("/proc")
    comm = ""
    with suppress(OSError):
        comm = Path(f"{proc}/2/comm").read_text().strip()
    if comm == "kthreadd":
        yield fine("pid namespace", f"one of its own, but {proc} is the host's")
    else:
        yield cannot(
            "pid namespace",
            f"{own}, not the host's, and {proc} shows this namespace only: processes would not be found",
            "run with the host's pid namespace (Docker: --pid=host, Kubernetes: hostPID: true), or mount the host's "
            "/proc and set HOST_ROOT",
        )


def _clock(_question: Question) -> Iterator[Finding]:
    now = time.clock_gettime(time.CLOCK_REALTIME)
    slept_s = time.clock_gettime(time.CLOCK_BOOTTIME) - time.clock_gettime(time.CLOCK_MONOTONIC)
    told = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(now)) + " UTC"
    slept = f", suspended for {slept_s:.0f} s since boot" if slept_s > 1 else ""
    synchronised = _synchronised()
    if now < _OLDEST_S:
        yield warn("clock", f"{told} cannot be right: alerts would bear wrong times", "set the clock, and run chrony")
    elif synchronised == "no":
        yield warn("clock", f"{told}{slept}; it is not synchronised", "run chrony or systemd-timesyncd")
    else:
        by = f"synchronised ({synchronised})" if synchronised else "what sets it cannot be told here"
        yield fine("clock", f"{told}{slept}; {by}")


def _synchronised() -> str:
    """Who says that the clock is synchronised; "no" when it is not, empty when nobody here knows."""
    if shutil.which("timedatectl") and os.path.isdir("/run/systemd/system"):
        with suppress(OSError, subprocess.SubprocessError):
            done = subprocess.run(
                ["timedatectl", "show", "--property=NTPSynchronized", "--value"],
                capture_output=True, text=True, timeout=_ASK_S, check=True, stdin=subprocess.DEVNULL,
            )  # fmt: skip
            answer = done.stdout.strip()
            if answer in ("yes", "no"):
                return "timedatectl" if answer == "yes" else "no"
    if os.path.exists("/run/systemd/timesync/synchronized"):
        return "systemd-timesyncd"
    for pid in _pids("/proc"):
        with suppress(OSError):
            name = Path(f"/proc/{pid}/comm").read_text().strip()
            if name in _SETTERS:
                return f"{name} runs"
    return ""


def _zone(_question: Question) -> Iterator[Finding]:
    name = os.environ.get("TZ", "")
    if name:
        yield fine("time zone", f"{time.strftime('%Z (%z)')}, of TZ")
    elif os.path.exists(_ZONE):
        yield fine("time zone", f"{time.strftime('%Z (%z)')}, of {_ZONE}: times of text alerts are local")
    else:
        yield fine("time zone", f"UTC: there is no {_ZONE}")


def _watching(question: Question) -> Iterator[Finding]:
    if question.config is not None and not question.config.watch_config_files:
        yield fine("file watching", "off (watch_config_files): kill -HUP reloads")
        return
    base = Path("/proc/sys/fs/inotify")
    instances = int((base / "max_user_instances").read_text())
    watches = int((base / "max_user_watches").read_text())
    used = _inotify_instances()
    fact = f"inotify: {used} of {instances} instances seen in use by this user, {watches} watches allowed"
    if used >= instances:
        yield warn("file watching", f"{fact}: changes are found by looking every few seconds",
                   f"sysctl -w fs.inotify.max_user_instances={max(512, 2 * instances)}")  # fmt: skip
    else:
        yield fine("file watching", fact)


def _inotify_instances() -> int:
    """Those of this user's processes, as far as these may be looked at."""
    mine = os.geteuid()
    count = 0
    for pid in _pids("/proc"):
        with suppress(OSError):
            if os.stat(f"/proc/{pid}").st_uid != mine:
                continue
            for fd in os.listdir(f"/proc/{pid}/fd"):
                with suppress(OSError):
                    count += os.readlink(f"/proc/{pid}/fd/{fd}") == "anon_inode:inotify"
    return count


def _systemd(_question: Question) -> Iterator[Finding]:
    if os.environ.get("NOTIFY_SOCKET"):
        watchdog = os.environ.get("WATCHDOG_USEC", "")
        limit = f", watchdog {int(watchdog) / 1e6:g} s" if watchdog.isdigit() else ", no watchdog"
        yield fine("systemd", f"run as a service that is told when the agent is ready{limit}")
    elif os.path.isdir("/run/systemd/system"):
        installed = any(os.path.exists(f"{one}/systemd/system/falco.service") for one in ("/etc", "/usr/lib", "/lib"))
        yield fine("systemd", f"runs here; falco.service is {'' if installed else 'not '}installed")
    else:
        yield fine("systemd", "does not run here: nobody is told when the agent is ready")


CHECKS: Final = (
    Check("/proc", _processes, 20.0),
    Check("pid namespace", _namespace),
    Check("clock", _clock),
    Check("time zone", _zone),
    Check("systemd", _systemd),
)
AFTER: Final = (Check("file watching", _watching, 20.0),)  # needs the configuration
