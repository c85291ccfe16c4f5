# SPDX-License-Identifier: Apache-2.0
"""User and group ids become names, from the passwd and group files of the host or of a process's container.

Invariant: a container's files are untrusted. They are opened below the container's root without leaving it, only as
regular files of a bounded size on its root mount, and never wait (no FIFO, device or FUSE file is opened).
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import struct
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, NamedTuple

from .procfs import namespace, read_bytes, text

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from .process import Process

FILE_MAX_BYTES = 4 * 1024 * 1024
NAMESPACES_MAX = 1024
CHECK_NS = 1_000_000_000  # how long an answer is given without looking whether the file changed
_SYS_OPENAT2 = 437  # the same number on every architecture
_RESOLVE_NO_XDEV, _RESOLVE_NO_MAGICLINKS, _RESOLVE_NO_SYMLINKS, _RESOLVE_IN_ROOT = 0x01, 0x02, 0x04, 0x10
_libc = ctypes.CDLL(None, use_errno=True)


class User(NamedTuple):
    name: str
    home: str
    shell: str


class _File:
    """The parsed content of one passwd or group file, and what it looked like when it was read."""

    __slots__ = ("by_id", "checked_ns", "mark")

    def __init__(self) -> None:
        self.by_id: dict[int, User] = {}
        self.mark: tuple[int, ...] | None = None
        self.checked_ns = -CHECK_NS


def parse_passwd(raw: bytes) -> dict[int, User]:
    """uid -> user; the first line of an id wins, as in getpwuid."""
    users: dict[int, User] = {}
    for line in raw.split(b"\n"):
        parts = line.split(b":")
        if len(parts) >= 7 and parts[0] and parts[2].isdigit():
            users.setdefault(int(parts[2]), User(text(parts[0]), text(parts[5]), text(parts[6])))
    return users


def parse_group(raw: bytes) -> dict[int, User]:
    """gid -> its name, in the place of a user's name."""
    groups: dict[int, User] = {}
    for line in raw.split(b"\n"):
        parts = line.split(b":")
        if len(parts) >= 3 and parts[0] and parts[2].isdigit():
            groups.setdefault(int(parts[2]), User(text(parts[0]), "", ""))
    return groups


def open_below(root_fd: int, path: str, resolve: int) -> int:
    """An O_PATH fd of `path` below `root_fd` (openat2); symbolic links cannot lead out. Raises OSError."""
    how = struct.pack("=QQQ", os.O_PATH | os.O_CLOEXEC, 0, resolve)
    fd = _libc.syscall(_SYS_OPENAT2, root_fd, os.fsencode(path), how, len(how))
    if fd >= 0:
        return int(fd)
    code = ctypes.get_errno()
    raise OSError(code, os.strerror(code), path)


def _own_mount(base: str, path: str) -> bool:
    """Whether `path` is itself a mount point of the process's root, and no mount on the way there is FUSE."""
    found = False
    for line in (read_bytes(base + "/mountinfo", FILE_MAX_BYTES) or b"").split(b"\n"):
        left, _, right = line.partition(b" - ")
        words = left.split(b" ")
        if len(words) < 5:
            continue
        point = text(words[4])
        if point == path or path.startswith(point.rstrip("/") + "/"):
            if right.startswith(b"fuse"):
                return False
            found = found or point == path
    return found


def _fuse_root(base: str) -> bool:
    for line in (read_bytes(base + "/mountinfo", FILE_MAX_BYTES) or b"").split(b"\n"):
        left, _, right = line.partition(b" - ")
        words = left.split(b" ")
        if len(words) >= 5 and words[4] == b"/" and right.startswith(b"fuse"):
            return True
    return False


def host_mount_namespace(root: str, proc: str) -> int:
    """That of pid 1; of kthreadd, which never leaves it, where pid 1 may not be looked into; else our own."""
    found = namespace(proc + "/1", "mnt") or namespace(proc + "/2", "mnt")
    return found or (namespace("/proc/self", "mnt") if root == "/" else 0)


class Users:
    """Names for ids, cached for each mount namespace.

    Bounded: at most `NAMESPACES_MAX` namespaces (least recently used go first), files of at most `FILE_MAX_BYTES`.
    `failures` counts files that could not be read.
    """

    def __init__(self, root: Path | str = "/", now_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self._root = str(root)
        self._proc = os.path.join(self._root, "proc")
        self._now_ns = now_ns
        self._files: OrderedDict[tuple[int, str], _File] = OrderedDict()
        self.host_mntns = host_mount_namespace(self._root, self._proc)
        self.failures = 0

    def user(self, process: Process, uid: int) -> User | None:
        found = self._look_up(process, "etc/passwd", parse_passwd, uid)
        if found is None and uid == 0:
            return User("root", "/root", "")
        return found

    def user_name(self, process: Process, uid: int) -> str | None:
        found = self._look_up(process, "etc/passwd", parse_passwd, uid)
        if found is not None:
            return found.name
        return "root" if uid == 0 else None

    def group_name(self, process: Process, gid: int) -> str | None:
        found = self._look_up(process, "etc/group", parse_group, gid)
        if found is not None:
            return found.name
        return "root" if gid == 0 else None

    def _look_up(
        self, process: Process, path: str, parse: Callable[[bytes], dict[int, User]], number: int
    ) -> User | None:
        inside = bool(process.container_id) and process.mntns != self.host_mntns and process.mntns != 0
        key = (process.mntns if inside else 0, path)
        files = self._files
        file = files.get(key)
        if file is None:
            file = files[key] = _File()
            if len(files) > 2 * NAMESPACES_MAX:
                files.popitem(last=False)
        else:
            files.move_to_end(key)
        now = self._now_ns()
        if now - file.checked_ns >= CHECK_NS:
            self._refresh(file, process.pid if inside else 0, path, parse, now)
        return file.by_id.get(number)

    def _refresh(self, file: _File, pid: int, path: str, parse: Callable[[bytes], dict[int, User]], now: int) -> None:
        """Read the file again when it changed. `pid` 0 means the host. What was known stays when it cannot be read."""
        try:
            fd = self._open(pid, path)
        except OSError as error:
            self.failures += 1
            # A process that is gone says nothing about its container: let the next one of it try.
            if error.errno != errno.ESRCH and not (pid and not os.path.exists(f"{self._proc}/{pid}")):
                file.checked_ns = now
            return
        try:
            found = os.fstat(fd)
            file.checked_ns = now
            mark = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
            if mark == file.mark:
                return
            if not stat.S_ISREG(found.st_mode) or found.st_size > FILE_MAX_BYTES:
                self.failures += 1
                return
            raw = read_bytes(f"/proc/self/fd/{fd}", FILE_MAX_BYTES)
            if raw is None:
                self.failures += 1
                return
            file.by_id = parse(raw)
            file.mark = mark
        finally:
            os.close(fd)

    def _open(self, pid: int, path: str) -> int:
        base = f"{self._proc}/{pid}"
        top = base + "/root" if pid else self._root
        resolve = _RESOLVE_IN_ROOT | _RESOLVE_NO_MAGICLINKS
        if pid:
            if _fuse_root(base):
                raise OSError(errno.EPERM, "root file system is FUSE", top)
            if not _own_mount(base, "/" + path):
                resolve |= _RESOLVE_NO_XDEV
        root_fd = os.open(top, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            return open_below(root_fd, path, resolve)
        finally:
            os.close(root_fd)
