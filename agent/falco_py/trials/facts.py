# SPDX-License-Identifier: Apache-2.0
"""The values that were written down become those that follow from them.

`consequences` holds what is certain (a file's directory follows from its name); `assumptions` what a reader of a unit
test expects when nothing is said (the call succeeded, on the host). Invariant: a value that was given is never changed.
"""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from ..events.descriptor import KINDS
from ..events.flags import TABLES
from ..events.syscalls import ROWS
from ..fields.evt import O_CREAT, O_F_CREATED, O_RDONLY, O_TMPFILE, O_WRONLY
from ..fields.fd import directory_of
from ..fields.fspath import OF_FD, ONE_PATH, TWO_PATHS
from .given import EVENT_TYPE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Values = dict[str, Any]

_OPENS = frozenset(("open", "openat", "openat2", "open_by_handle_at"))
_CHAR_OF = {kind.word: kind.char for kind in KINDS if kind.word is not None and kind.word != "userfaultfd"}
_WORD_OF = {char: word for word, char in _CHAR_OF.items()}
_INET = ("ipv4", "ipv6")
_FLAG_BITS = dict(TABLES["file_flags"])
_ANCESTORS = (  # of the parent; of the nth ancestor; of the process
    ("proc.pname", "proc.aname", "proc.name"),
    ("proc.pexe", "proc.aexe", "proc.exe"),
    ("proc.pexepath", "proc.aexepath", "proc.exepath"),
    ("proc.pcmdline", "proc.acmdline", "proc.cmdline"),
    ("proc.ppid", "proc.apid", "proc.pid"),
)
_MAX_ANCESTORS = 64
_TUPLE = re.compile(r"(?P<client>.+):(?P<cport>\d{1,5})->(?P<server>.+):(?P<sport>\d{1,5})")
_ENDS = (("fd.cip", "fd.cnet"), ("fd.sip", "fd.snet"), ("fd.lip", "fd.lnet"), ("fd.rip", "fd.rnet"))
_CONTAINER = ("container.", "k8s.", "k8smeta.")
SOME_CONTAINER = "0123456789ab"
_FIRST_FREE_FD = 3


def completed(values: Values, *, assume: bool) -> tuple[Values, frozenset[str]]:
    """(values with what follows from them, fields of which only some values are known)."""
    made = dict(values)
    if assume:
        _fill(made, _assumptions)
    partial: set[str] = set()
    whole = frozenset(values)
    for _ in range(3):  # what follows from what follows
        before = len(made)
        for rule in _CONSEQUENCES:
            _fill(made, rule)
        partial |= _ancestors(made, whole)
        if len(made) == before:
            break
    return made, frozenset(() if assume else partial)


def _fill(made: Values, rule: Callable[[Values], Iterator[tuple[str, Any]]]) -> None:
    for name, value in list(rule(made)):
        made.setdefault(name, value)


# What follows


def _of_type(made: Values) -> Iterator[tuple[str, Any]]:
    name = made.get(EVENT_TYPE) or made.get("syscall.type")
    if name is None:
        return
    yield EVENT_TYPE, name
    yield "evt.dir", "<"
    yield "evt.source", "syscall"
    yield "evt.is_async", False
    row = ROWS.get(name)
    if row is None:
        return
    if name != "procexit":
        yield "syscall.type", name
    reads, writes = "reads_fd" in row.flags, "writes_fd" in row.flags
    yield "evt.is_io", reads or writes
    yield "evt.is_io_read", reads
    yield "evt.is_io_write", writes
    yield "evt.io_dir", "read" if reads else "write" if writes else None
    yield "evt.is_wait", "waits" in row.flags
    if not row.category.startswith("io_"):
        yield "evt.category", "IPC" if row.category == "ipc" else row.category
    if name not in _OPENS and name != "creat":
        for field in ("read", "write", "create", "exec"):
            yield f"evt.is_open_{field}", False


def _of_result(made: Values) -> Iterator[tuple[str, Any]]:
    res, raw = made.get("evt.res"), made.get("evt.rawres")
    if isinstance(raw, int):
        yield "evt.failed", raw < 0
        if raw >= 0:
            yield "evt.res", "SUCCESS"
    elif isinstance(res, str):
        yield "evt.failed", res != "SUCCESS"
    if made.get("evt.failed") is False:
        yield "evt.res", "SUCCESS"


def _of_flags(made: Values) -> Iterator[tuple[str, Any]]:
    text = made.get("evt.arg[flags]")
    if made.get(EVENT_TYPE) not in _OPENS or not isinstance(text, str):
        return
    bits = 0
    for word in text.split("|"):
        bits |= _FLAG_BITS.get(word, 0)
    yield "evt.is_open_read", bool(bits & O_RDONLY)
    yield "evt.is_open_write", bool(bits & O_WRONLY)
    yield "evt.is_open_create", bool(bits & (O_F_CREATED | O_TMPFILE))
    if not bits & (O_CREAT | O_TMPFILE):
        yield "evt.is_open_exec", False


def _of_fd(made: Values) -> Iterator[tuple[str, Any]]:
    word, char = made.get("fd.type"), made.get("fd.typechar")
    if word in _CHAR_OF:
        yield "fd.typechar", _CHAR_OF[word]
    elif char in _WORD_OF:
        word = _WORD_OF[char]
        yield "fd.type", word
    if word is not None:
        yield "fd.sockfamily", "ip" if word in _INET else "unix" if word == "unix" else None
    name = made.get("fd.name")
    if not isinstance(name, str):
        return
    yield "fd.nameraw", name
    if word == "file":
        yield "fd.directory", directory_of(name)
        yield "fd.filename", name.rpartition("/")[2] if "/" in name else "/"
    elif word == "directory":
        yield "fd.directory", name


def _of_connection(made: Values) -> Iterator[tuple[str, Any]]:
    name = made.get("fd.name")
    found = _TUPLE.fullmatch(name) if isinstance(name, str) and made.get("fd.type") in (*_INET, None) else None
    if found is not None:
        try:
            yield "fd.cip", ip_address(found["client"].strip("[]"))
            yield "fd.sip", ip_address(found["server"].strip("[]"))
            yield "fd.cport", int(found["cport"])
            yield "fd.sport", int(found["sport"])
        except ValueError:
            return
    for address, network in _ENDS:
        if address in made or network in made:
            value = made[address] if address in made else made[network]
            yield address, value
            yield network, value
    for letter in "cslr":
        port = made.get(f"fd.{letter}port")
        if port is not None:
            yield f"fd.{letter}proto", str(port)
    client, server = made.get("fd.cip"), made.get("fd.sip")
    if client is not None and server is not None:
        yield "fd.ip", (client, server)
        yield "fd.net", (client, server)
        word = f"ipv{server.version}"
        yield "fd.type", word
        yield "fd.typechar", str(server.version)
        ports = made.get("fd.cport"), made.get("fd.sport")
        if None not in ports:
            yield "fd.port", ports
            yield "fd.proto", ports
            yield "fd.name", f"{client}:{ports[0]}->{server}:{ports[1]}"


def _of_paths(made: Values) -> Iterator[tuple[str, Any]]:
    name = made.get(EVENT_TYPE)
    if made.get("evt.failed") is not False or not isinstance(name, str):
        return
    param = ONE_PATH.get(name)
    found = [("name", made.get("fd.name") if param == OF_FD else made.get(f"evt.arg[{param}]"))]
    found += zip(("source", "target"), (made.get(f"evt.arg[{one}]") for one in TWO_PATHS.get(name, ())), strict=False)
    for which, path in found:
        if isinstance(path, str) and path.startswith("/"):
            yield f"fs.path.{which}", path
            yield f"fs.path.{which}raw", path


def _of_process(made: Values) -> Iterator[tuple[str, Any]]:
    name, args, cmdline = made.get("proc.name"), made.get("proc.args"), made.get("proc.cmdline")
    if isinstance(name, str) and isinstance(args, str):
        yield "proc.cmdline", f"{name} {args}".rstrip()
    elif isinstance(name, str) and isinstance(cmdline, str) and (cmdline + " ").startswith(name + " "):
        args = cmdline[len(name) + 1 :]
        yield "proc.args", args
    if isinstance(args, str) and args and not any(sign in args for sign in "'\"\\"):
        for index, one in enumerate(args.split(" ")):
            yield f"proc.args[{index}]", one
    exe = made.get("proc.exe")
    if isinstance(exe, str) and isinstance(args, str):
        yield "proc.exeline", f"{exe} {args}".rstrip()


def _of_place(made: Values) -> Iterator[tuple[str, Any]]:
    where = made.get("container.id")
    if where == "host":
        yield "container.full_id", "host"
        yield "container.name", "host"
        yield "container.type", "host"
    full = made.get("container.full_id")
    if isinstance(full, str):
        yield "container.id", full[:12]
    for mine, other in (("k8s.pod.name", "k8smeta.pod.name"), ("k8s.ns.name", "k8smeta.ns.name"),
                        ("k8s.pod.uid", "k8smeta.pod.uid"), ("k8s.pod.uid", "k8s.pod.id")):  # fmt: skip
        for one, two in ((mine, other), (other, mine)):
            if one in made:
                yield two, made[one]


_CONSEQUENCES = (_of_type, _of_result, _of_flags, _of_connection, _of_fd, _of_paths, _of_process, _of_place)


def _ancestors(made: Values, whole: frozenset[str]) -> set[str]:
    """Parent and first ancestor are the same; what is not in `whole` is put together of the ancestors that are known.

    Gives the fields that were.
    """
    partial = set()
    for parent, nth, own in _ANCESTORS:
        if own in made:
            made.setdefault(f"{nth}[0]", made[own])
        for level, one in enumerate(made[nth] if nth in whole and made[nth] else (), 1):
            made.setdefault(f"{nth}[{level}]", one)
        if parent in made:
            made.setdefault(f"{nth}[1]", made[parent])
        elif f"{nth}[1]" in made:
            made[parent] = made[f"{nth}[1]"]
        known = [made[key] for level in range(1, _MAX_ANCESTORS) if (key := f"{nth}[{level}]") in made]
        if known and nth not in whole:
            made[nth] = tuple(one for one in known if one is not None)
            partial.add(nth)
    return partial


# What is taken for granted


def _assumptions(made: Values) -> Iterator[tuple[str, Any]]:
    """A call succeeds, a descriptor is that of a file, and what names no container happens on the host."""
    if not any(name in made for name in ("evt.res", "evt.rawres", "evt.failed")):
        row = ROWS.get(made.get(EVENT_TYPE, ""))
        yield "evt.rawres", made.get("fd.num", _FIRST_FREE_FD) if row and "creates_fd" in row.flags else 0
    about_sockets = any(name.startswith(("fd.c", "fd.s", "fd.l", "fd.r", "fd.ip", "fd.port")) for name in made)
    fails = made.get("evt.failed") is True or (made.get("evt.rawres") or 0) < 0
    if any(name.startswith("fd.") for name in made):
        yield "fd.num", -1 if fails else _FIRST_FREE_FD
        name = made.get("fd.name")
        connected = isinstance(name, str) and _TUPLE.fullmatch(name)
        if not about_sockets and not connected and "fd.type" not in made and "fd.typechar" not in made:
            yield "fd.type", "file"
    inside = any(name.startswith(_CONTAINER) for name in made)
    if not any(name in made for name in ("container.id", "container.full_id")):
        yield "container.id", SOME_CONTAINER if inside else "host"
