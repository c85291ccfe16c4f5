# SPDX-License-Identifier: Apache-2.0
"""Files below /proc/PID become a `Process`.

Invariant: nothing here raises for a process that vanished, may not be read, or chose hostile names; what cannot be
read stays at the entry's default. An entry is only returned when the process was the same before and after reading.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from .clock import TICK_NS
from .process import EXE_FROM_MEMFD, Process

if TYPE_CHECKING:
    from pathlib import Path

ARGS_MAX_BYTES = 128 * 1024
ENV_MAX_BYTES = 128 * 1024
_FILE_MAX_BYTES = 64 * 1024
_UNSET_ID = 0xFFFFFFFF


class Stat(NamedTuple):
    """What /proc/PID/stat says; `start_ns` is boot ns, exact to a clock tick."""

    comm: str
    ppid: int
    pgid: int
    sid: int
    tty: int
    pgft_min: int
    pgft_maj: int
    start_ns: int


def text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


def read_bytes(path: str, limit: int = _FILE_MAX_BYTES) -> bytes | None:
    """At most `limit` bytes of a /proc file, None when it cannot be read."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return None
    chunks = []
    left = limit
    try:
        while left > 0:
            chunk = os.read(fd, min(left, 65536))
            if not chunk:
                break
            chunks.append(chunk)
            left -= len(chunk)
    except OSError:
        if not chunks:
            return None
    finally:
        os.close(fd)
    return b"".join(chunks)


def parse_stat(raw: bytes) -> Stat | None:
    """The name stands between the first "(" and the last ")": it may itself hold both, and newlines."""
    left, right = raw.find(b"("), raw.rfind(b")")
    if left < 0 or right < left:
        return None
    rest = raw[right + 1 :].split()
    try:
        return Stat(
            comm=text(raw[left + 1 : right]),
            ppid=int(rest[1]),
            pgid=int(rest[2]),
            sid=int(rest[3]),
            tty=int(rest[4]),
            pgft_min=int(rest[7]),
            pgft_maj=int(rest[9]),
            start_ns=int(rest[19]) * TICK_NS,
        )
    except (IndexError, ValueError):
        return None


def read_stat(base: str) -> Stat | None:
    raw = read_bytes(base + "/stat", 4096)
    return None if raw is None else parse_stat(raw)


def parse_cgroups(raw: bytes) -> tuple[tuple[str, str], ...]:
    """Lines `id:controllers:path`; a line of several controllers gives one pair each, `name=x` stays as it is."""
    pairs: list[tuple[str, str]] = []
    for line in text(raw).split("\n"):
        parts = line.split(":", 2)
        if len(parts) == 3:
            pairs.extend((controller, parts[2]) for controller in parts[1].split(","))
    return tuple(pairs)


def read_cgroups(base: str) -> tuple[tuple[str, str], ...]:
    raw = read_bytes(base + "/cgroup")
    return parse_cgroups(raw) if raw else ()


def split_args(raw: bytes) -> tuple[str, ...]:
    """NUL-terminated strings; a process that rewrote its title may have none at the end."""
    if not raw:
        return ()
    return tuple(text(part) for part in raw.removesuffix(b"\0").split(b"\0"))


def namespace(base: str, name: str) -> int:
    """Inode number of a namespace, 0 when unknown."""
    try:
        link = os.readlink(f"{base}/ns/{name}")
        return int(link[link.index("[") + 1 : -1])
    except (OSError, ValueError):
        return 0


def _status(process: Process, raw: bytes) -> None:
    lines = {}
    for line in raw.split(b"\n"):
        key, colon, value = line.partition(b":")
        if colon:
            lines[key] = value.split()
    number = _number
    process.uid = number(lines.get(b"Uid"), 1)  # effective
    process.gid = number(lines.get(b"Gid"), 1)
    process.vpid = number(lines.get(b"NStgid"), -1) or process.pid
    process.vpgid = number(lines.get(b"NSpgid"), -1)
    process.sid = number(lines.get(b"NSsid"), -1) or process.sid
    process.cap_effective = number(lines.get(b"CapEff"), 0, 16)
    process.cap_permitted = number(lines.get(b"CapPrm"), 0, 16)
    process.cap_inheritable = number(lines.get(b"CapInh"), 0, 16)
    process.vm_size_kb = number(lines.get(b"VmSize"), 0)
    process.vm_rss_kb = number(lines.get(b"VmRSS"), 0)
    process.vm_swap_kb = number(lines.get(b"VmSwap"), 0)


def _number(words: list[bytes] | None, index: int, base: int = 10) -> int:
    try:
        return int(words[index], base) if words else 0
    except (IndexError, ValueError):
        return 0


def _unsigned(path: str) -> int:
    """A uid-like number, -1 for unset or unknown."""
    try:
        value = int(read_bytes(path, 32) or b"")
    except ValueError:
        return -1
    return -1 if value == _UNSET_ID else value


def _exe(process: Process, base: str) -> None:
    try:
        path = os.readlink(os.fsencode(base + "/exe"))
    except OSError:
        return  # kernel threads and foreign processes have none that we may read
    if path.startswith(b"/memfd:"):
        process.exe_flags |= EXE_FROM_MEMFD
    try:
        found = os.stat(base + "/exe")
    except OSError:
        pass
    else:
        if found.st_nlink == 0:
            path = path.removesuffix(b" (deleted)")
        process.exe_dev = os.major(found.st_dev) << 20 | os.minor(found.st_dev)
        process.exe_ino = found.st_ino
        process.exe_ctime_ns = found.st_ctime_ns
        process.exe_mtime_ns = found.st_mtime_ns
    process.exepath = text(path)


def _fdlimit(base: str) -> int:
    for line in (read_bytes(base + "/limits") or b"").split(b"\n"):
        if line.startswith(b"Max open files"):
            word = line.split()[3]
            return int(word) if word.isdigit() else -1
    return 0


def read_process(proc: Path | str, pid: int) -> Process | None:
    """The process `pid` of the procfs mounted at `proc`, or None when it is gone."""
    base = f"{proc}/{pid}"
    before = read_stat(base)
    if before is None:
        return None
    process = Process(pid, before.start_ns)
    process.comm = before.comm
    process.ppid = before.ppid
    process.pgid = before.pgid
    process.sid = before.sid
    process.tty = before.tty
    process.pgft_min = before.pgft_min
    process.pgft_maj = before.pgft_maj
    process.vpid = pid
    raw = read_bytes(base + "/status")
    if raw:
        _status(process, raw)
    raw = read_bytes(base + "/cmdline", ARGS_MAX_BYTES)
    if raw:
        args = split_args(raw)
        process.exe = args[0]
        process.args = args[1:]
        process.args_truncated = len(raw) >= ARGS_MAX_BYTES
    raw = read_bytes(base + "/environ", ENV_MAX_BYTES)
    if raw:
        process.env = split_args(raw)
        process.env_truncated = len(raw) >= ENV_MAX_BYTES
    try:
        process.cwd = text(os.readlink(os.fsencode(base + "/cwd")))
    except OSError:
        process.cwd = ""
    _exe(process, base)
    process.filename = process.exepath
    process.loginuid = _unsigned(base + "/loginuid")
    process.sessionid = max(_unsigned(base + "/sessionid"), 0)
    process.cgroups = read_cgroups(base)
    process.mntns = namespace(base, "mnt")
    process.pidns = namespace(base, "pid")
    process.fdlimit = _fdlimit(base)
    after = read_stat(base)
    if after is None or after.start_ns != before.start_ns:
        return None
    return process


def read_args(proc: Path | str, pid: int, start: int, known: tuple[str, ...]) -> tuple[tuple[str, ...], bool] | None:
    """The whole argv of a live process and whether it is still cut, or None.

    `known` is the beginning of argv as the kernel told it; an answer that does not begin so is another image or a
    rewritten title, and is refused.
    """
    return _read_vector(f"{proc}/{pid}", "cmdline", start, known)


def read_env(proc: Path | str, pid: int, start: int, known: tuple[str, ...]) -> tuple[tuple[str, ...], bool] | None:
    """As `read_args`, for the environment."""
    return _read_vector(f"{proc}/{pid}", "environ", start, known)


def _read_vector(base: str, name: str, start: int, known: tuple[str, ...]) -> tuple[tuple[str, ...], bool] | None:
    raw = read_bytes(f"{base}/{name}", ARGS_MAX_BYTES)
    found = read_stat(base)
    if not raw or found is None or found.start_ns // TICK_NS != start // TICK_NS:
        return None
    words = split_args(raw)
    whole = known[:-1]
    if words[: len(whole)] != whole or len(words) < len(known):
        return None
    if known and not words[len(whole)].startswith(known[-1]):
        return None
    return words, len(raw) >= ARGS_MAX_BYTES


def pids(proc: Path | str) -> list[int]:
    """All process ids below `proc`, ascending; empty when it cannot be read."""
    try:
        with os.scandir(proc) as entries:
            return sorted(int(entry.name) for entry in entries if entry.name.isdigit())
    except OSError:
        return []
