# SPDX-License-Identifier: Apache-2.0
"""The BPF programs that trace this machine: whose they are, and how long they ran.

Timing is on while a file descriptor is open (BPF_ENABLE_STATS), so that the kernel switches it off when the benchmark
ends in whatever way. It adds to each run of a program, which is why wall-clock figures are not taken meanwhile.
"""

from __future__ import annotations

import errno
import os
import re
import struct
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from falco_py.kernel import bpf

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from .children import Children

HERE = Path(__file__).resolve().parent

# enum bpf_cmd, bpf_link_type and the layout of bpf_prog_info and bpf_link_info: include/uapi/linux/bpf.h
_PROG_GET_FD_BY_ID = 13
_LINK_GET_FD_BY_ID = 30
_LINK_GET_NEXT_ID = 31
_ENABLE_STATS = 32
_TRACING_LINKS = frozenset([1, 2, 7, 8])  # raw tracepoint, tracing, perf event, many kprobes
_NAME = slice(64, 80)
_RUN_TIME_AT = 192


class Run(NamedTuple):
    """Of a program since it was loaded, while timing was on."""

    time_ns: int
    runs: int


def _info_by_id(command: int, number: int) -> bytes | None:
    """None when it is gone."""
    try:
        fd, _ = bpf.call(command, struct.pack("=I", number))
    except OSError as error:
        if error.errno == errno.ENOENT:
            return None
        raise
    try:
        return bpf.info(fd)
    finally:
        os.close(fd)


def _links() -> Iterator[bytes]:
    at = 0
    while True:
        try:
            _, after = bpf.call(_LINK_GET_NEXT_ID, struct.pack("=II", at, 0))
        except OSError as error:
            if error.errno == errno.ENOENT:
                return
            raise
        at = struct.unpack_from("=I", after, 4)[0]
        info = _info_by_id(_LINK_GET_FD_BY_ID, at)
        if info is not None:
            yield info


def attached() -> dict[int, str]:
    """Names of the programs that trace this machine, by id."""
    found = {}
    for link in _links():
        kind, _, program = struct.unpack_from("=III", link)
        if kind in _TRACING_LINKS:
            info = _info_by_id(_PROG_GET_FD_BY_ID, program)
            if info is not None:
                found[program] = info[_NAME].rstrip(b"\0").decode("utf-8", "replace")
    return found


def ids_of(pid: int | str) -> frozenset[int]:
    """Programs of which a process holds a file descriptor, or one of their links."""
    found = set()
    for entry in Path(f"/proc/{pid}/fdinfo").iterdir():
        try:
            text = entry.read_text()
        except FileNotFoundError:
            continue
        found |= {int(number) for number in re.findall(r"^prog_id:\s*(\d+)", text, re.MULTILINE)}
    return frozenset(found)


def foreign(own: Iterable[int] = ()) -> list[str]:
    """Names of the attached programs that are not among `own`."""
    return sorted(name for number, name in attached().items() if number not in frozenset(own))


def run_of(programs: Iterable[int]) -> Run:
    """Of all of them together."""
    time_ns = runs = 0
    for number in programs:
        info = _info_by_id(_PROG_GET_FD_BY_ID, number)
        if info is not None:
            one = struct.unpack_from("=QQ", info, _RUN_TIME_AT)
            time_ns, runs = time_ns + one[0], runs + one[1]
    return Run(time_ns, runs)


@contextmanager
def timed() -> Iterator[None]:
    """Runs of BPF programs are timed in the block. Raises OSError."""
    fd, _ = bpf.call(_ENABLE_STATS, struct.pack("=I", 0))  # BPF_STATS_RUN_TIME
    try:
        yield
    finally:
        os.close(fd)


class Empty:
    """A program at the end of every system call that does nothing, attached in `attached()` blocks."""

    def __init__(self, children: Children, scratch: Path) -> None:
        """Raises OSError or CalledProcessError without clang."""
        self._object_path = scratch / "empty.bpf.o"
        source = HERE / "empty.bpf.c"
        children.run(["clang", "-O2", "-g", "-target", "bpf", "-c", str(source), "-o", str(self._object_path)])

    @contextmanager
    def attached(self) -> Iterator[frozenset[int]]:
        """Its id, in a set. Raises OSError."""
        import pylibbpf

        before = ids_of("self")
        try:
            loaded = pylibbpf.BpfObject(str(self._object_path))
            loaded.load()
            program = loaded.get_program("benchmark_empty")
            program.attach()
        except pylibbpf.BpfException as error:
            raise OSError(f"the kernel refused the empty program: {error}") from error
        try:
            yield ids_of("self") - before
        finally:
            program.detach()
