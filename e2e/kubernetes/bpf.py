# SPDX-License-Identifier: Apache-2.0
"""A pod's processes become the identities of the BPF programs and maps that they hold, and these whether they live."""

from __future__ import annotations

import contextlib
import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from falco_py.kernel import bpf

# bpf(2), enum bpf_cmd of include/uapi/linux/bpf.h
_PROG_GET_FD_BY_ID: Final = 13
_MAP_GET_FD_BY_ID: Final = 14


@dataclass(frozen=True)
class Objects:
    """By their numbers in the kernel, which it gives to no other soon."""

    programs: frozenset[int]
    maps: frozenset[int]


def processes(pod_uid: str) -> list[int]:
    """The pod's, on this machine."""
    found = []
    for entry in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):  # it has ended
            if f"/pod{pod_uid}/" in Path("/proc", entry, "cgroup").read_text():
                found.append(int(entry))
    return found


def objects(pod_uid: str) -> Objects:
    """Those that a pod's processes have open (/proc/PID/fdinfo)."""
    found: dict[str, set[int]] = {"prog_id": set(), "map_id": set()}
    for pid in processes(pod_uid):
        with contextlib.suppress(OSError):
            for path in Path(f"/proc/{pid}/fdinfo").iterdir():
                for line in path.read_text().splitlines():
                    name, _, number = line.partition(":")
                    if name in found:
                        found[name].add(int(number))
    return Objects(frozenset(found["prog_id"]), frozenset(found["map_id"]))


def living(wanted: Objects) -> Objects:
    """Those that the kernel still has."""
    return Objects(
        frozenset(number for number in wanted.programs if _lives(_PROG_GET_FD_BY_ID, number)),
        frozenset(number for number in wanted.maps if _lives(_MAP_GET_FD_BY_ID, number)),
    )


def _lives(command: int, number: int) -> bool:
    try:
        descriptor, _ = bpf.call(command, struct.pack("=III", number, 0, 0))
    except OSError:
        return False
    os.close(descriptor)
    return True
