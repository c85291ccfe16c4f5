# SPDX-License-Identifier: Apache-2.0
"""The process table follows exec, fork and exit, and never takes one process for another."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from falco_py.events.record import Exit, Header, StateChange
from falco_py.state.clock import boot_to_epoch_ns, now_boot_ns, refresh
from falco_py.state.process import Process
from falco_py.state.processes import _FACTS, KEEP_DEAD_NS, ProcessTable
from tests.state.made import ID, SECOND_NS, TICK_NS, fork, header, image, proc_entry

if TYPE_CHECKING:
    from pathlib import Path

START = 90 * SECOND_NS + 1234


@pytest.fixture
def table(tmp_path: Path) -> ProcessTable:
    """init, and an empty rest of /proc."""
    proc_entry(tmp_path, 1, start_ticks=100, comm=b"init")
    made = ProcessTable(tmp_path)
    made.scan()
    return made


def test_scan_of_this_machine_knows_this_process() -> None:
    table = ProcessTable("/")
    assert table.scan() >= 2
    own = table.by_pid(os.getpid())
    assert own is not None
    assert 0 < now_boot_ns() - own.start < 3600 * SECOND_NS
    parent = table.parent(own)
    assert parent is not None
    assert parent.pid == os.getppid()


def test_exec_replaces_what_was_known(table: ProcessTable) -> None:
    table.on_exec(header(), image())
    found = table.on_exec(header(comm=b"id", ts=101 * SECOND_NS), image(args=("/bin/id", "-u"), exepath="/usr/bin/id"))
    assert table.get(header(comm=b"id", ts=102 * SECOND_NS)) is found
    assert (found.cmdline, found.exe, found.args, found.exepath) == ("id -u", "/bin/id", ("-u",), "/usr/bin/id")
    assert (found.ppid, found.pstart, found.cwd, found.exec_ts) == (1, SECOND_NS, "/tmp", 101 * SECOND_NS)


def test_exec_without_arguments_has_empty_ones(table: ProcessTable) -> None:
    found = table.on_exec(header(), image(args=()))
    assert (found.exe, found.args, found.cmdline) == ("", (), "sh")


def test_cut_arguments_are_completed_from_proc(table: ProcessTable, tmp_path: Path) -> None:
    proc_entry(tmp_path, 40, cmdline=b"sh\0-c\0rm -rf /\0end\0")
    found = table.on_exec(header(), image(args=("sh", "-c", "rm"), args_truncated=True))
    assert found.args == ("-c", "rm -rf /", "end")
    assert not found.args_truncated
    gone = table.on_exec(header(pid=41), image(args=("sh", "x"), args_truncated=True))
    assert gone.args_truncated


def test_a_cut_environment_is_completed_only_for_rules_that_read_it(table: ProcessTable, tmp_path: Path) -> None:
    proc_entry(tmp_path, 40, environ=b"A=1\0GLIBC_TUNABLES=x\0")
    cut = image(env_raw=b"A=1\0GLIBC", env_truncated=True)
    assert table.on_exec(header(), cut).env_truncated
    table.whole_env = True
    found = table.on_exec(header(), cut)
    assert found.env == ("A=1", "GLIBC_TUNABLES=x")
    assert not found.env_truncated
    other = table.on_exec(header(), image(env_raw=b"B=1\0C", env_truncated=True))
    assert other.env == ("B=1", "C")


def test_fork_gives_the_child_the_facts_of_its_parent(table: ProcessTable) -> None:
    parent = table.on_exec(header(), image(tty=34816, sid=40))
    child = table.on_fork(header(ts=101 * SECOND_NS), fork(50, 101 * SECOND_NS))
    assert (child.pid, child.ppid, child.pstart, child.start) == (50, 40, START, 101 * SECOND_NS)
    assert (child.exepath, child.tty, child.sid) == (parent.exepath, 34816, 40)
    assert child.args is parent.args
    assert table.parent(child) is parent
    child.rename("other")
    assert (parent.cmdline, child.cmdline) == ("sh -c", "other -c")


def test_child_made_as_a_sibling_has_the_parents_parent(table: ProcessTable) -> None:
    table.on_exec(header(), image())
    child = table.on_fork(header(), fork(50, 101 * SECOND_NS, ppid=1, pstart=SECOND_NS))
    assert [one.comm for one in table.ancestors(child)] == ["init"]


def test_fork_into_a_new_pid_namespace_starts_new_numbers(table: ProcessTable) -> None:
    table.on_exec(header(), image(sid=40, vpgid=40))
    child = table.on_fork(header(), fork(50, 101 * SECOND_NS, vpid=1, pidns=9))
    assert (child.vpid, child.pidns, child.sid, child.vpgid) == (1, 9, 0, 0)
    assert child.pidns_start_ns == 101 * SECOND_NS


def test_exited_process_is_kept_for_late_events_then_dropped(table: ProcessTable) -> None:
    found = table.on_exec(header(), image())
    table.on_exit(header(ts=200 * SECOND_NS), Exit(0, 1))
    table.purge(200 * SECOND_NS + KEEP_DEAD_NS - 1)
    assert table.get(header()) is found
    assert found.exited
    table.purge(200 * SECOND_NS + KEEP_DEAD_NS)
    assert table.by_pid(40) is None


def test_a_reused_pid_is_another_process(table: ProcessTable) -> None:
    old = table.on_exec(header(), image())
    table.on_exit(header(ts=200 * SECOND_NS))
    new = table.get(header(start=START + TICK_NS, ts=201 * SECOND_NS, comm=b"new"))
    assert new is not old
    assert (new.comm, new.exepath) == ("new", "")
    table.purge(300 * SECOND_NS)
    assert table.by_pid(40) is new


def test_late_event_of_the_former_owner_of_a_pid_does_not_take_the_entry(table: ProcessTable) -> None:
    new = table.on_exec(header(start=START + SECOND_NS), image())
    old = table.get(header(comm=b"old", ts=99 * SECOND_NS))
    assert old.comm == "old"
    assert table.by_pid(40) is new


def test_start_read_from_proc_and_exact_start_are_the_same_process(table: ProcessTable, tmp_path: Path) -> None:
    proc_entry(tmp_path, 40, ppid=1)
    table.scan()
    scanned = table.by_pid(40)
    assert scanned is not None
    assert scanned.start == 90 * SECOND_NS
    assert table.get(header()) is scanned
    assert scanned.start == START


def test_unknown_process_is_healed_from_proc(table: ProcessTable, tmp_path: Path) -> None:
    proc_entry(tmp_path, 40, ppid=1, cgroup=f"0::/docker/{ID}\n".encode())
    found = table.get(header())
    assert (found.cmdline, found.start, found.container_id) == ("sh -x", START, ID[:12])
    assert (table.counters.healed, table.counters.minimal) == (1, 0)


def test_unknown_process_that_is_gone_gets_an_entry_from_its_header(table: ProcessTable) -> None:
    found = table.get(header(comm=b"gone", uid=5, ppid=1))
    assert (found.comm, found.uid, found.ppid, found.exepath, found.cmdline) == ("gone", 5, 1, "", "gone")
    assert table.get(header(comm=b"gone", uid=5)) is found
    assert table.counters.minimal == 1


def test_another_process_in_proc_under_the_pid_is_not_taken(table: ProcessTable, tmp_path: Path) -> None:
    proc_entry(tmp_path, 40, start_ticks=9001)
    assert table.get(header()).exepath == ""


def test_what_changes_without_exec_is_taken_from_the_header(table: ProcessTable) -> None:
    table.on_exec(header(), image())
    found = table.get(
        header(ts=101 * SECOND_NS, uid=7, gid=8, ppid=9, pstart=5, cap_effective=3, cap_permitted=4, mntns=77)
    )
    assert (found.uid, found.gid, found.ppid, found.pstart, found.mntns) == (7, 8, 9, 5, 77)
    assert (found.cap_effective, found.cap_permitted) == (3, 4)


def test_an_older_event_does_not_bring_old_facts_back(table: ProcessTable) -> None:
    table.on_exec(header(ts=200 * SECOND_NS, comm=b"new", uid=7), image(euid=7))
    found = table.get(header(ts=199 * SECOND_NS, comm=b"old", uid=0))
    assert (found.comm, found.uid) == ("new", 7)


def test_only_the_first_thread_names_the_process(table: ProcessTable) -> None:
    found = table.on_exec(header(), image())
    table.get(header(tid=41, comm=b"worker", ts=101 * SECOND_NS))
    assert found.comm == "sh"
    table.get(header(comm=b"renamed", ts=102 * SECOND_NS))
    assert (found.comm, found.cmdline) == ("renamed", "renamed -c")


def test_repeated_headers_change_nothing_and_a_new_one_does(table: ProcessTable) -> None:
    found = table.on_exec(header(), image())
    for second in (101, 102, 103):
        assert table.get(header(ts=second * SECOND_NS)) is found
        assert found.seen_ts == second * SECOND_NS
    table.on_state(header(ts=104 * SECOND_NS, comm=b"b"), StateChange(b"b", None))
    assert table.get(header(ts=105 * SECOND_NS, comm=b"b", uid=9)).uid == 9
    assert table.get(header(ts=106 * SECOND_NS)).comm == "sh"


def test_header_facts_begin_at_the_parent() -> None:
    assert Header._fields[_FACTS] == "ppid"
    assert {"start", "uid", "cgroup", "comm", "vtid"} < set(Header._fields[_FACTS:])


def test_state_records_rename_and_move(table: ProcessTable) -> None:
    found = table.on_exec(header(), image())
    table.on_state(header(), StateChange(b"evil", None))
    assert found.cmdline == "evil -c"
    table.on_state(header(comm=b"evil"), StateChange(None, "/root"))
    assert found.cwd == "/root"
    table.on_state(header(tid=41, comm=b"x"), StateChange(b"x", None))
    assert found.comm == "evil"


def test_a_lost_exec_is_noticed_by_its_executable(table: ProcessTable, tmp_path: Path) -> None:
    table.on_exec(header(), image())
    proc_entry(tmp_path, 40, ppid=1, comm=b"nc", exe=b"/usr/bin/nc", cmdline=b"nc\0-l\0")
    found = table.get(header(comm=b"nc", ts=101 * SECOND_NS))
    assert (found.cmdline, found.exepath) == ("nc -l", "/usr/bin/nc")
    assert table.by_pid(40) is found


def test_a_lost_exec_of_a_program_of_the_same_name_is_noticed(table: ProcessTable, tmp_path: Path) -> None:
    table.on_exec(header(exec_id=3), image())
    proc_entry(tmp_path, 40, ppid=1, comm=b"sh", exe=b"/tmp/sh", cmdline=b"sh\0-i\0")
    assert table.get(header(exec_id=3, ts=101 * SECOND_NS)).exepath == "/usr/bin/sh"
    found = table.get(header(exec_id=4, ts=102 * SECOND_NS))
    assert (found.cmdline, found.exepath, found.exec_id) == ("sh -i", "/tmp/sh", 4)
    assert table.by_pid(40) is found
    assert table.counters.healed == 1
    assert table.get(header(exec_id=4, ts=103 * SECOND_NS)) is found
    assert table.counters.healed == 1


def test_the_image_of_a_process_that_was_there_before_is_that_of_its_first_event(table: ProcessTable) -> None:
    first = table.get(header(pid=1, start=100 * TICK_NS, exec_id=7, comm=b"init"))
    assert (first.exepath, first.exec_id, table.counters.healed) == (table.by_pid(1).exepath, 7, 0)  # type: ignore[union-attr]
    child = table.on_fork(header(pid=1, start=100 * TICK_NS, exec_id=7, comm=b"init"), fork(50, 101 * SECOND_NS))
    assert child.exec_id == 7


def test_ancestors_are_nearest_first_and_end(table: ProcessTable) -> None:
    table.on_exec(header(), image())
    table.on_fork(header(), fork(50, 101 * SECOND_NS))
    child = table.on_fork(
        header(pid=50, start=101 * SECOND_NS, ppid=40, pstart=START),
        fork(60, 102 * SECOND_NS, ppid=50, pstart=101 * SECOND_NS),
    )
    assert [one.pid for one in table.ancestors(child)] == [50, 40, 1]


def test_a_loop_of_parents_ends(table: ProcessTable) -> None:
    a, b = Process(70, 5 * SECOND_NS), Process(71, 6 * SECOND_NS)
    a.ppid, a.pstart, b.ppid, b.pstart = 71, b.start, 70, a.start
    table._insert(a)
    table._insert(b)
    assert [one.pid for one in table.ancestors(a)] == [71]


def test_parent_of_an_orphan_is_who_adopted_it(table: ProcessTable, tmp_path: Path) -> None:
    table.on_exec(header(), image())
    child = table.on_fork(header(), fork(50, 101 * SECOND_NS))
    proc_entry(tmp_path, 50, start_ticks=10100, ppid=1)
    table.on_exit(header(ts=150 * SECOND_NS))
    table.get(header(pid=50, start=101 * SECOND_NS, ppid=1, pstart=SECOND_NS, ts=160 * SECOND_NS))
    assert [one.comm for one in table.ancestors(child)] == ["init"]


def test_parent_that_died_after_the_event_is_still_its_parent(table: ProcessTable, tmp_path: Path) -> None:
    parent = table.on_exec(header(), image())
    child = table.on_fork(header(), fork(50, 101 * SECOND_NS))
    proc_entry(tmp_path, 50, start_ticks=10100, ppid=1)
    table.on_exit(header(ts=150 * SECOND_NS))
    late = header(pid=50, start=101 * SECOND_NS, ppid=40, pstart=START, ts=149 * SECOND_NS)
    assert table.parent(table.get(late)) is parent
    assert child.seen_ts < parent.exit_ts


def test_process_with_the_parents_pid_but_another_start_is_no_parent(table: ProcessTable) -> None:
    table.on_exec(header(), image())
    child = table.on_fork(header(), fork(50, 101 * SECOND_NS))
    table.on_exec(header(start=START + SECOND_NS), image())
    assert table.parent(child) is None


def test_full_table_lets_go_the_dead_first(tmp_path: Path) -> None:
    table = ProcessTable(tmp_path, max_size=16)
    for pid in range(1000, 1016):
        table.on_exec(header(pid=pid), image())
    table.on_exit(header(pid=1010))
    table.on_exec(header(pid=2000), image())
    assert (len(table), table.by_pid(1010), table.counters.evicted) == (16, None, 0)
    table.on_exec(header(pid=2001), image())
    assert (len(table), table.by_pid(1000), table.counters.evicted) == (16, None, 1)
    assert table.by_pid(1001) is not None


def test_process_that_died_unseen_is_found(table: ProcessTable) -> None:
    table.on_exec(header(), image())
    table.purge(200 * SECOND_NS)
    found = table.by_pid(40)
    assert found is not None
    assert found.exited
    assert table.counters.lost_exits == 1
    init = table.by_pid(1)
    assert init is not None
    assert not init.exited


def test_container_comes_with_the_exec_and_goes_to_children(table: ProcessTable) -> None:
    found = table.on_exec(header(), image(cgroups=(("", f"/kubepods/besteffort/pod{'a' * 32}/{ID}"),)))
    assert (found.container_id, found.full_container_id, found.pod_uid) == (ID[:12], ID, "a" * 32)
    child = table.on_fork(header(), fork(50, 101 * SECOND_NS))
    assert child.container_id == ID[:12]


def test_changed_cgroup_is_read_again(table: ProcessTable, tmp_path: Path) -> None:
    found = table.on_exec(header(), image())
    proc_entry(tmp_path, 40, cgroup=f"0::/system.slice/docker-{ID}.scope\n".encode())
    table.get(header(ts=101 * SECOND_NS, cgroup=4))
    assert (found.container_id, found.container_engine) == (ID[:12], "docker")


def test_leaving_the_containers_cgroup_does_not_leave_the_container(table: ProcessTable, tmp_path: Path) -> None:
    inside = (("", f"/docker/{ID}"),)
    table.users.host_mntns = 1
    table.on_exec(header(), image(cgroups=inside))
    proc_entry(tmp_path, 40, cgroup=b"0::/\n")
    assert table.get(header(ts=101 * SECOND_NS, cgroup=4)).container_id == ID[:12]
    again = table.on_exec(header(ts=102 * SECOND_NS, cgroup=4), image(cgroups=(("", "/"),)))
    assert again.container_id == ID[:12]
    outside = table.on_exec(header(ts=103 * SECOND_NS, cgroup=4, mntns=1), image(cgroups=(("", "/"),)))
    assert outside.container_id == ""


def test_a_process_outside_the_hosts_mounts_was_in_the_container_that_its_cgroup_names(
    table: ProcessTable, tmp_path: Path
) -> None:
    table.users.host_mntns = 1
    (tmp_path / "run/containerd/io.containerd.runtime.v2.task/shop").mkdir(parents=True)
    inside = image(cgroups=(("", "/shop/web"),))
    assert table.on_exec(header(), inside).container_id == "web"
    assert table.on_exec(header(pid=41, mntns=1), inside).container_id == ""


def test_facts_of_a_container_reach_all_its_processes(table: ProcessTable) -> None:
    cgroups = (("", f"/docker/{ID}"),)
    first = table.on_exec(header(), image(cgroups=cgroups))
    facts = object()
    table.set_container(ID, facts)
    second = table.on_exec(header(pid=41), image(cgroups=cgroups))
    assert first.container is second.container is facts
    table.set_container(ID, None)
    assert first.container is None


def test_clock_tells_the_epoch_of_boot() -> None:
    assert abs(refresh() + now_boot_ns() - time.time_ns()) < SECOND_NS
    assert boot_to_epoch_ns() == refresh() or abs(boot_to_epoch_ns() - refresh()) < SECOND_NS


@given(st.binary(max_size=40))
def test_the_environments_text_is_the_same_before_and_after_it_was_split(raw: bytes) -> None:
    before, after = Process(1, 1), Process(1, 1)
    before.env_raw = after.env_raw = raw
    assert after.env is not None
    assert before.env_text == after.env_text == " ".join(after.env)


def test_environments_are_kept_only_for_rules_that_read_them(table: ProcessTable) -> None:
    assert table.on_exec(header(), image(env_raw=b"A=1\0")).env == ("A=1",)
    table.keep_env = False
    process = table.on_exec(header(exec_id=2), image(env_raw=b"A=1\0"))
    assert (process.env, process.env_text, process.env_raw) == ((), "", b"")


def test_processes_in_one_place_share_what_says_so(table: ProcessTable) -> None:
    def places(number: int) -> tuple[tuple[str, str], ...]:
        return tuple((name, f"/slice/{number}") for name in ("", "cpu"))

    one = table.on_exec(header(), image(cgroups=places(1)))
    two = table.on_exec(header(pid=41, tid=41), image(cgroups=places(1)))
    other = table.on_exec(header(pid=42, tid=42), image(cgroups=places(2)))
    assert one.cgroups is two.cgroups
    assert (one.cgroups, other.cgroups) == (places(1), places(2))
