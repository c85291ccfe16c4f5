# SPDX-License-Identifier: Apache-2.0
"""Fields of the process and its ancestors: `proc.*`.

Facts of the process come from its entry in the process table, ancestors by live parent links.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import openfds
from .fd import KIND_WORDS
from .model import Field, FieldType, fixed, index_error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from falco_py.events.event import Event

T = FieldType
UNKNOWN = "<NA>"
ENV_ANCESTORS_MAX = 20


def parent_of(e: Event) -> Any:
    return e.table.parent(e.process)


def ancestor_at(e: Event, level: int) -> Any:
    """Level 0 is the process itself, 1 its parent."""
    if level == 0:
        return e.process
    above = e.ancestors
    return above[level - 1] if level <= len(above) else None


def value_of(process: Any, name: str) -> Any:
    """One fact of a process that may be unknown."""
    if process is None:
        return None
    value = getattr(process, name)
    return value or UNKNOWN if name == "exepath" else value


def all_of(e: Event, name: str) -> tuple[Any, ...] | None:
    """A fact of all ancestors, nearest first, the process itself not included; None without ancestors."""
    return tuple(value_of(process, name) for process in e.ancestors) or None


def joined(e: Event, name: str) -> str:
    return " ".join(value_of(process, name) for process in e.ancestors)


def arg_of(e: Event, index: int) -> str:
    args: tuple[str, ...] = e.process.args
    return args[index] if index < len(args) else ""


def env_value(env: tuple[str, ...], name: str) -> str | None:
    prefix = name + "="
    for item in env:
        if item.startswith(prefix):
            return item[len(prefix) :].strip()
    return None


def env_of(e: Event, name: str) -> str:
    return env_value(e.process.env, name) or ""


def ancestor_env(e: Event, name: str) -> str | None:
    """The variable of the nearest ancestor that has it."""
    for count, process in enumerate(e.ancestors):
        if count >= ENV_ANCESTORS_MAX:
            break
        value = env_value(process.env, name)
        if value is not None:
            return value
    return None


def command_line(e: Event) -> str:
    """The name that the thread had at the event, and the arguments."""
    process = e.process
    name: str = e.header.comm.decode("utf-8", "surrogateescape")
    if name == process.comm:
        return str(process.cmdline)
    return f"{name} {process.args_text}" if process.args else name


def work_directory(e: Event) -> str:
    cwd: str = e.process.cwd
    return cwd if not cwd or cwd.endswith("/") else cwd + "/"


def login_shell_id(e: Event) -> int | None:
    """The oldest of the process and its ancestors whose name ends in "sh"."""
    found = None
    for process in _self_and_ancestors(e):
        if process.comm.endswith("sh"):
            found = process.pid
    return found


def _self_and_ancestors(e: Event) -> Iterator[Any]:
    yield e.process
    yield from e.ancestors


def leader(e: Event, group: str) -> Any:
    """The leader of the process's session (`sid`) or group (`vpgid`, `pgid`), else its oldest ancestor in it.

    `sid` and `vpgid` count in the process's pid namespace, `pgid` in the host's.
    """
    own = e.process
    number = getattr(own, group)
    if number <= 0:
        return None
    host_ids = group == "pgid" or own.vpid == own.pid
    if host_ids:
        found = e.table.by_pid(number)
        if found is not None and not found.exited and getattr(found, group) == number:
            return found
    oldest = None
    for process in _self_and_ancestors(e):
        if getattr(process, group) == number and (group == "pgid" or process.pidns == own.pidns):
            oldest = process
            if process.vpid == number and group != "pgid":
                break
    return oldest


def leader_value(e: Event, group: str, name: str) -> str:
    found = leader(e, group)
    return "" if found is None else value_of(found, name)


def duration(e: Event, start_ns: int) -> int | None:
    return max(e.header.ts - start_ns, 0) if start_ns else None


def epoch(e: Event, boot_ns: int) -> int | None:
    """Boot time as epoch time, by the event's own two times."""
    return boot_ns + e.ts - e.header.ts if boot_ns else None


def start_after_ctime(e: Event) -> int | None:
    """From the last change of the executable's inode to the start of the process."""
    process = e.process
    start = epoch(e, process.start)
    if not process.exe_ctime_ns or start is None:
        return None
    return start - process.exe_ctime_ns if start > process.exe_ctime_ns else None


def ctime_after_pidns(e: Event) -> int | None:
    """From the start of the pid namespace to the last change of the executable's inode."""
    process = e.process
    start = epoch(e, process.pidns_start_ns)
    if not process.exe_ctime_ns or start is None:
        return None
    return process.exe_ctime_ns - start if process.exe_ctime_ns > start else None


def fd_usage(e: Event) -> float | None:
    count = openfds.open_fd_count(e)
    limit = e.process.fdlimit
    return None if count is None or limit <= 0 else count * 100.0 / limit


def other_threads(e: Event) -> int | None:
    count = openfds.thread_count(e)
    return None if count is None else max(count - 1, 0)


def args_length(e: Event) -> int:
    return sum(map(len, e.process.args))


_K = "process"
NAME_BYTES = 15  # of a thread's name: TASK_COMM_LEN of include/linux/sched.h without the NUL
_NAME = "e.header.comm.decode('utf-8', 'surrogateescape')"  # written out: nearly every rule reads it
_WORDS = {
    "comm": "Name",
    "exe": "argv[0]",
    "exepath": "Path of the executable",
    "cmdline": "Name and arguments",
}


def _row(name: str, kind: FieldType, doc: str, expression: str, form: Any = "NA", **more: Any) -> Field:
    return Field(name=name, klass=_K, type=kind, doc=doc, code=fixed(expression), print_format=form, **more)


def _ancestor_row(name: str, attribute: str, doc: str) -> Field:
    return Field(
        name=name,
        klass=_K,
        type=T.CHARBUF,
        doc=f"{doc} of an ancestor: [1] is the parent; without a number any of them in a condition, all in an output.",
        code=_ancestor_code(attribute),
        print_code=_ancestor_print(attribute),
        json_code=_ancestor_print(attribute),
        arg="optional",
        arg_kind="index",
        multi="any",
        no_rhs=True,
        no_transformer=True,
        cost_ns=2000,
        check_arg=index_error(name),
        longest_bytes=NAME_BYTES if attribute == "comm" else 0,
    )


def _ancestor_code(attribute: str) -> Callable[[str | None], str]:
    def code(arg: str | None) -> str:
        if arg is None:
            return f"all_of(e, {attribute!r})"
        return f"value_of(ancestor_at(e, {int(arg)}), {attribute!r})"

    return code


def _ancestor_print(attribute: str) -> Callable[[str | None], str]:
    def code(arg: str | None) -> str:
        return f"joined(e, {attribute!r})" if arg is None else _ancestor_code(attribute)(arg)

    return code


def _env_code(arg: str | None) -> str:
    return "e.process.env_text" if arg is None else f"env_of(e, {arg!r})"


def _ancestor_env_code(arg: str | None) -> str:
    if arg is None:
        return "all_of(e, 'env_text')"
    if arg.isascii() and arg.isdigit():
        return f"value_of(ancestor_at(e, {int(arg)}), 'env_text')"
    return f"ancestor_env(e, {arg!r})"


def _ancestor_env_print(arg: str | None) -> str:
    return "joined(e, 'env_text')" if arg is None else _ancestor_env_code(arg)


def _ancestor_pid_print(arg: str | None) -> str:
    return "e.header.pid" if arg is None else _ancestor_code("pid")(arg)


def _leaders() -> tuple[Field, ...]:
    rows = []
    for group, names, who in (
        ("sid", ("proc.sname", "proc.sid.exe", "proc.sid.exepath"), "session leader"),
        ("vpgid", ("proc.vpgid.name", "proc.vpgid.exe", "proc.vpgid.exepath"), "leader of the process group"),
        ("pgid", ("proc.pgid.name", "proc.pgid.exe", "proc.pgid.exepath"), "leader of the process group"),
    ):
        for name, attribute in zip(names, ("comm", "exe", "exepath"), strict=True):
            doc = f"{_WORDS[attribute]} of the {who}."
            code = f"leader_value(e, {group!r}, {attribute!r})"
            rows.append(_row(name, T.CHARBUF, doc, code, longest_bytes=NAME_BYTES if attribute == "comm" else 0))
    return tuple(rows)


ROWS: tuple[Field, ...] = (
    _row("proc.exe", T.CHARBUF, "argv[0].", "e.process.exe", process_fixed=True),
    _row("proc.pexe", T.CHARBUF, "argv[0] of the parent.", "value_of(parent_of(e), 'exe')"),
    _ancestor_row("proc.aexe", "exe", "argv[0]"),
    _row(
        "proc.exepath",
        T.CHARBUF,
        "Path of the executable, without symbolic links.",
        "(e.process.exepath or '<NA>')",
        process_fixed=True,
    ),
    _row("proc.pexepath", T.CHARBUF, "Path of the parent's executable.", "value_of(parent_of(e), 'exepath')"),
    _ancestor_row("proc.aexepath", "exepath", "Path of the executable"),
    _row("proc.name", T.CHARBUF, "Name of the thread (at most 15 bytes).", _NAME, longest_bytes=NAME_BYTES),
    _row("proc.pname", T.CHARBUF, "Name of the parent.", "value_of(parent_of(e), 'comm')", longest_bytes=NAME_BYTES),
    _ancestor_row("proc.aname", "comm", "Name"),
    Field(
        name="proc.args",
        klass=_K,
        type=T.CHARBUF,
        doc="Arguments after argv[0], joined with blanks; proc.args[0] is the first of them.",
        code=lambda arg: "e.process.args_text" if arg is None else f"arg_of(e, {int(arg)})",
        arg="optional",
        arg_kind="index",
        check_arg=index_error("proc.args"),
        process_fixed=True,
    ),
    Field(
        name="proc.aargs",
        klass=_K,
        type=T.CHARBUF,
        doc="Arguments of an ancestor: [1] is the parent; without a number those of all, joined.",
        code=lambda arg: "joined(e, 'args_text')" if arg is None else _ancestor_code("args_text")(arg),
        arg="optional",
        arg_kind="index",
        check_arg=index_error("proc.aargs"),
    ),
    _row("proc.cmdline", T.CHARBUF, "Name of the thread and arguments of the process.", "command_line(e)"),
    _row("proc.pcmdline", T.CHARBUF, "Name and arguments of the parent.", "value_of(parent_of(e), 'cmdline')"),
    _ancestor_row("proc.acmdline", "cmdline", "Name and arguments"),
    _row(
        "proc.cmdnargs",
        T.UINT64,
        "Number of arguments after argv[0].",
        "len(e.process.args)",
        "DEC",
        process_fixed=True,
    ),
    _row(
        "proc.cmdlenargs",
        T.UINT64,
        "Length of the arguments after argv[0], blanks not counted.",
        "args_length(e)",
        "DEC",
        process_fixed=True,
    ),
    _row("proc.exeline", T.CHARBUF, "argv[0] and arguments.", "e.process.exeline", process_fixed=True),
    Field(
        name="proc.env",
        klass=_K,
        type=T.CHARBUF,
        doc="Environment as K=V joined with blanks; proc.env[NAME] is one variable.",
        code=_env_code,
        arg="optional",
        arg_kind="key",
        process_fixed=True,
    ),
    Field(
        name="proc.aenv",
        klass=_K,
        type=T.CHARBUF,
        doc="Environment of an ancestor: [1] is the parent; [NAME] is the variable of the nearest that has it.",
        code=_ancestor_env_code,
        print_code=_ancestor_env_print,
        json_code=_ancestor_env_print,
        arg="optional",
        arg_kind="any",
        multi="any",
        no_rhs=True,
        no_transformer=True,
    ),
    _row("proc.cwd", T.CHARBUF, "Working directory, with a slash at its end.", "work_directory(e)"),
    _row(
        "proc.loginshellid",
        T.INT64,
        "Pid of the oldest shell among the process and its ancestors.",
        "login_shell_id(e)",
        "ID",
    ),
    _row(
        "proc.tty",
        T.UINT32,
        "Number of the controlling terminal, 0 for none.",
        "e.process.tty",
        "ID",
        process_fixed=True,
    ),
    _row("proc.pid", T.INT64, "Process id.", "e.header.pid", "ID", process_fixed=True),
    _row("proc.ppid", T.INT64, "Process id of the parent.", "e.header.ppid", "ID"),
    Field(
        name="proc.apid",
        klass=_K,
        type=T.INT64,
        doc="Process id of an ancestor: [1] is the parent.",
        code=_ancestor_code("pid"),
        print_code=_ancestor_pid_print,
        json_code=_ancestor_pid_print,
        arg="optional",
        arg_kind="index",
        multi="any",
        no_rhs=True,
        no_transformer=True,
        check_arg=index_error("proc.apid"),
        print_format="ID",
    ),
    _row(
        "proc.vpid",
        T.INT64,
        "Process id in the pid namespace of the process.",
        "(e.header.vpid or None)",
        "ID",
        process_fixed=True,
    ),
    _row(
        "proc.pvpid", T.INT64, "The parent's process id in its pid namespace.", "value_of(parent_of(e), 'vpid')", "ID"
    ),
    _row("proc.sid", T.INT64, "Session id in the pid namespace of the process.", "e.process.sid", "ID"),
    *_leaders(),
    _row("proc.vpgid", T.INT64, "Process group id in the pid namespace of the process.", "e.process.vpgid", "ID"),
    _row("proc.pgid", T.INT64, "Process group id in the host's pid namespace.", "e.process.pgid", "ID"),
    _row("proc.duration", T.RELTIME, "Time since the process started, ns.", "duration(e, e.process.start)", "DEC"),
    _row("proc.ppid.duration", T.RELTIME, "Time since the parent started, ns.", "duration(e, e.header.pstart)", "DEC"),
    _row("proc.pid.ts", T.RELTIME, "Start of the process, epoch ns.", "epoch(e, e.process.start)", "DEC"),
    _row("proc.ppid.ts", T.RELTIME, "Start of the parent, epoch ns.", "epoch(e, e.header.pstart)", "DEC"),
    *(
        _row(f"proc.is_exe_{name}", T.BOOL, doc, f"(e.process.exe_flags & {bit} != 0)", process_fixed=True)
        for name, bit, doc in (
            ("writable", 1, "Whether the user that started the process may write its executable."),
            ("upper_layer", 2, "Whether the executable lies in the upper layer of overlayfs."),
            ("from_memfd", 4, "Whether the executable is a memfd."),
            ("lower_layer", 8, "Whether the executable lies in the lower layer of overlayfs."),
        )
    ),
    _row("proc.is_sid_leader", T.BOOL, "Whether the process leads its session.", "(e.process.sid == e.process.vpid)"),
    _row(
        "proc.is_vpgid_leader",
        T.BOOL,
        "Whether the process leads its group (own namespace).",
        "(e.process.vpgid == e.process.vpid)",
    ),
    _row(
        "proc.is_pgid_leader",
        T.BOOL,
        "Whether the process leads its group (host).",
        "(e.process.pgid == e.process.pid)",
    ),
    _row(
        "proc.exe_ino",
        T.INT64,
        "Inode number of the executable.",
        "(e.process.exe_ino or None)",
        "DEC",
        process_fixed=True,
    ),
    _row(
        "proc.exe_ino.ctime",
        T.ABSTIME,
        "Last change of the executable's inode, epoch ns.",
        "(e.process.exe_ctime_ns or None)",
        "DEC",
        process_fixed=True,
    ),
    _row(
        "proc.exe_ino.mtime",
        T.ABSTIME,
        "Last change of the executable's content, epoch ns.",
        "(e.process.exe_mtime_ns or None)",
        "DEC",
        process_fixed=True,
    ),
    _row(
        "proc.exe_ino.ctime_duration_proc_start",
        T.ABSTIME,
        "From the last change of the executable's inode to the start of the process, ns.",
        "start_after_ctime(e)",
        "DEC",
    ),
    _row(
        "proc.exe_ino.ctime_duration_pidns_start",
        T.ABSTIME,
        "From the start of the pid namespace to the last change of the executable's inode, ns.",
        "ctime_after_pidns(e)",
        "DEC",
    ),
    _row(
        "proc.pidns_init_start_ts",
        T.UINT64,
        "Start of the pid namespace's first process, epoch ns.",
        "epoch(e, e.process.pidns_start_ns)",
        "DEC",
    ),
    _row("proc.fdopencount", T.UINT64, "Number of open fds, read when the rule is tested.", "open_fd_count(e)", "DEC"),
    _row("proc.fdlimit", T.INT64, "Most fds the process may open.", "e.process.fdlimit", "DEC"),
    _row("proc.fdusage", T.DOUBLE, "Open fds in per cent of the limit.", "fd_usage(e)"),
    _row("proc.vmsize", T.UINT64, "Virtual memory at the last exec, kB.", "e.process.vm_size_kb", "DEC"),
    _row("proc.vmrss", T.UINT64, "Resident memory at the last exec, kB.", "e.process.vm_rss_kb", "DEC"),
    _row("proc.vmswap", T.UINT64, "Swapped memory at the last exec, kB.", "e.process.vm_swap_kb", "DEC"),
    _row("proc.nthreads", T.UINT64, "Living threads, read when the rule is tested.", "thread_count(e)", "DEC"),
    _row("proc.nchilds", T.UINT64, "Living threads without the first one.", "other_threads(e)", "DEC"),
    *(
        row
        for number, word in enumerate(("stdin", "stdout", "stderr"))
        for row in (
            _row(
                f"proc.{word}.type",
                T.CHARBUF,
                f"Kind of {word}, read when the rule is tested.",
                f"open_fd_type(e, {number})",
                words=KIND_WORDS,
            ),
            _row(
                f"proc.{word}.name",
                T.CHARBUF,
                f"Name of {word}, read when the rule is tested.",
                f"open_fd_name(e, {number})",
            ),
        )
    ),
)
