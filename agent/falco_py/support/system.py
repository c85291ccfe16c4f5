# SPDX-License-Identifier: Apache-2.0
"""What this machine and this Python are, as plain values for a report.

Invariant: nothing here raises; what cannot be read is left out or empty.
"""

from __future__ import annotations

import os
import platform
import sys
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any, Final

from .cluster import cgroup_mode, in_container

LIBRARIES: Final = ("pylibbpf", "PyYAML", "pyparsing", "google-re2", "aiohttp", "prometheus-client")
_MEMORY: Final = ("MemTotal", "MemAvailable", "SwapTotal")
_RELEASE: Final = ("PRETTY_NAME", "ID", "VERSION_ID", "ID_LIKE")


def _lines(path: str) -> list[str]:
    with suppress(OSError):
        return Path(path).read_text(errors="replace").splitlines()
    return []


def _pairs(path: str, separator: str) -> dict[str, str]:
    found = (line.partition(separator) for line in _lines(path))
    return {name.strip(): value.strip().strip('"') for name, sep, value in found if sep}


def system() -> dict[str, Any]:
    """Kernel, distribution, processors, memory, control groups, container and Kubernetes."""
    name = os.uname()
    release = _pairs("/etc/os-release", "=")
    memory = _pairs("/proc/meminfo", ":")
    return {
        "sysname": name.sysname,
        "nodename": name.nodename,
        "release": name.release,
        "version": name.version,
        "machine": name.machine,
        "os_release": {key: release[key] for key in _RELEASE if key in release},
        "cpus": os.cpu_count(),
        "cpus_allowed": len(os.sched_getaffinity(0)),
        "memory": {key: memory[key] for key in _MEMORY if key in memory},
        "cgroups": cgroup_mode(),
        "container": in_container(),
        "kubernetes": bool(os.environ.get("KUBERNETES_SERVICE_HOST")),
        "uid": os.geteuid(),
    }


def python() -> dict[str, Any]:
    """Python and the libraries that the agent uses; a version is empty where one is not installed."""
    return {
        "version": platform.python_version(),
        "implementation": platform.python_implementation(),
        "executable": sys.executable,
        "libraries": {name: _version(name) for name in LIBRARIES},
    }


def _version(name: str) -> str:
    with suppress(metadata.PackageNotFoundError):
        return metadata.version(name)
    return ""
