# SPDX-License-Identifier: Apache-2.0
"""One process as fields see it: an entry of the process table.

Invariant: text in it is `str` decoded with surrogateescape, missing text is "", missing numbers are 0 (-1 for
`loginuid`), and the joined texts follow `comm`, `args` and `env` because those change only through methods here.
"""

from __future__ import annotations

from typing import Any

from ..events.record import Exec, strings

UNKNOWN = -1
EXE_WRITABLE, EXE_UPPER_LAYER, EXE_FROM_MEMFD, EXE_LOWER_LAYER = 1, 2, 4, 8

_NUMBERS = (
    "pid",
    "start",
    "ppid",
    "pstart",
    "uid",
    "gid",
    "sessionid",
    "tty",
    "sid",
    "pgid",
    "vpgid",
    "vpid",
    "cap_effective",
    "cap_permitted",
    "cap_inheritable",
    "exe_flags",
    "exe_dev",
    "exe_ino",
    "exe_ctime_ns",
    "exe_mtime_ns",
    "mntns",
    "pidns",
    "pidns_start_ns",
    "cgroup_id",
    "exec_ts",
    "exit_ts",
    "seen_ts",
    "fdlimit",
    "vm_size_kb",
    "vm_rss_kb",
    "vm_swap_kb",
    "pgft_maj",
    "pgft_min",
)
_TEXTS = (
    "comm",
    "exe",
    "exepath",
    "cwd",
    "filename",
    "container_id",
    "full_container_id",
    "container_engine",
    "pod_uid",
)
_COPIED = (
    *_NUMBERS,
    *_TEXTS,
    "loginuid",
    "args",
    "_env",
    "_env_raw",
    "cgroups",
    "args_truncated",
    "env_truncated",
    "container",
)


def _written(lines: list[str], arguments: str) -> Any:
    """A function of these lines: every fork and exec copies or clears all attributes, so no loop does it."""
    scope: dict[str, Any] = {}
    exec(f"def made({arguments}):\n    " + "\n    ".join(lines), scope)
    return scope["made"]


_copy = _written([f"to.{name} = of.{name}" for name in _COPIED], "of, to")
_clear = _written([*(f"of.{name} = 0" for name in _NUMBERS), *(f'of.{name} = ""' for name in _TEXTS)], "of")

_IMAGE = {name: f"of.{name}" for name in Exec._fields if name in _COPIED} | {
    "args": "of.argv",
    "env_raw": "of.env_raw",
    "euid": "of.uid",
    "egid": "of.gid",
}
_take_image = _written([", ".join(_IMAGE.get(name, "_") for name in Exec._fields) + " = image"], "of, image")


def _joined(raw: bytes) -> str:
    """NUL-separated strings with blanks between them."""
    return raw.removesuffix(b"\0").replace(b"\0", b" ").decode("utf-8", "surrogateescape")


class Process:
    """A process; `pid` is the thread group id in the host's pid namespace.

    Times ending in `_ts`, and `start`, `pstart`, `pidns_start_ns`, are boot ns; `exe_ctime_ns` and `exe_mtime_ns`
    epoch ns. `args` is argv without argv[0], which is `exe`. `cgroups` holds (subsystem, path), "" being cgroup v2.
    `container_id` is "" outside containers; `container` is what enrichment found out, None until then.
    """

    __slots__ = (*_COPIED, "_args_text", "_cmdline", "_env_text", "exec_id", "exited", "learnings", "learnt", "synced")

    pid: int
    start: int
    ppid: int
    pstart: int
    uid: int
    gid: int
    sessionid: int
    tty: int
    sid: int
    pgid: int
    vpgid: int
    vpid: int
    cap_effective: int
    cap_permitted: int
    cap_inheritable: int
    exe_flags: int
    exe_dev: int
    exe_ino: int
    exe_ctime_ns: int
    exe_mtime_ns: int
    mntns: int
    pidns: int
    pidns_start_ns: int
    cgroup_id: int
    exec_ts: int
    exit_ts: int
    seen_ts: int
    fdlimit: int
    vm_size_kb: int
    vm_rss_kb: int
    vm_swap_kb: int
    pgft_maj: int
    pgft_min: int
    comm: str
    exe: str
    exepath: str
    cwd: str
    filename: str
    container_id: str
    full_container_id: str
    container_engine: str
    pod_uid: str
    loginuid: int
    args: tuple[str, ...]
    _env: tuple[str, ...] | None  # None until somebody asks for what is in `_env_raw`
    _env_raw: bytes
    cgroups: tuple[tuple[str, str], ...]
    args_truncated: bool
    env_truncated: bool
    container: Any
    exited: bool
    exec_id: int  # of the image (record.Header), UNKNOWN until an event tells it
    learnt: tuple[Any, ...] | None  # what the kernel's entry of it was last made for (kernel.learning)
    learnings: int
    synced: tuple[Any, ...] | None  # the part of the last header that was compared with this entry

    def __init__(self, pid: int, start: int) -> None:
        _clear(self)
        self.pid = pid
        self.start = start
        self.loginuid = -1
        self.args = ()
        self._env = ()
        self._env_raw = b""
        self.cgroups = ()
        self.args_truncated = False
        self.env_truncated = False
        self.container = None
        self.exited = False
        self.exec_id = UNKNOWN
        self.learnt = None
        self.learnings = 0
        self.synced = None
        self._cmdline: str | None = None
        self._args_text: str | None = None
        self._env_text: str | None = None

    def __repr__(self) -> str:
        return f"<Process {self.pid} {self.comm!r} started {self.start}>"

    def child(self, pid: int, start: int) -> Process:
        """A copy for a forked child; tuples and joined texts are shared."""
        copy = Process.__new__(Process)
        _copy(self, copy)
        copy._cmdline = self._cmdline
        copy._args_text = self._args_text
        copy._env_text = self._env_text
        copy.pid = pid
        copy.start = start
        copy.ppid = self.pid
        copy.pstart = self.start
        copy.exited = False
        copy.exec_id = self.exec_id
        copy.learnt = None
        copy.learnings = 0
        copy.synced = None
        copy.exit_ts = 0
        return copy

    def as_it_is(self) -> Process:
        """A copy that nothing changes any more."""
        copy = self.child(self.pid, self.start)
        copy.ppid, copy.pstart = self.ppid, self.pstart
        copy.exited, copy.exit_ts = self.exited, self.exit_ts
        return copy

    def take_image(self, image: Exec) -> None:
        """The facts of a new image."""
        _take_image(self, image)

    @property
    def argv(self) -> tuple[str, ...]:
        return (self.exe, *self.args)

    @argv.setter
    def argv(self, value: tuple[str, ...]) -> None:
        self.exe = value[0] if value else ""
        self.args = value[1:]
        self._args_text = self._cmdline = None

    def rename(self, comm: str) -> None:
        self.comm = comm
        self._cmdline = None

    @property
    def env(self) -> tuple[str, ...]:
        made = self._env
        if made is None:
            made = self._env = strings(self._env_raw)
        return made

    @env.setter
    def env(self, value: tuple[str, ...]) -> None:
        self._env = value
        self._env_text = None

    @property
    def env_raw(self) -> bytes:
        return self._env_raw

    @env_raw.setter
    def env_raw(self, value: bytes) -> None:
        self._env_raw = value
        self._env = self._env_text = None

    @property
    def args_text(self) -> str:
        """Arguments after argv[0], joined with blanks."""
        text = self._args_text
        if text is None:
            text = self._args_text = " ".join(self.args)
        return text

    @property
    def cmdline(self) -> str:
        """`comm` and the arguments."""
        text = self._cmdline
        if text is None:
            text = self._cmdline = f"{self.comm} {self.args_text}" if self.args else self.comm
        return text

    @property
    def exeline(self) -> str:
        """argv[0] and the arguments."""
        return f"{self.exe} {self.args_text}" if self.args else self.exe

    @property
    def env_text(self) -> str:
        """The environment, joined with blanks."""
        text = self._env_text
        if text is None:
            text = self._env_text = " ".join(self._env) if self._env is not None else _joined(self._env_raw)
        return text
