# SPDX-License-Identifier: Apache-2.0
"""The filter for opens keeps every open that a rule could match: as a model, and in the kernel."""

from __future__ import annotations

import contextlib
import os
import random
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from falco_py.events.event import Event
from falco_py.events.record import KIND_SYSCALL, Header
from falco_py.events.syscalls import ROWS
from falco_py.kernel import pushdown
from falco_py.kernel.load import Capture
from falco_py.kernel.pushdown import FAILED, READ, READ_WRITE, WRITE, Plan, clauses_of, plan
from falco_py.rules.syntax import And, Check, FieldExpr, Literal, Node, Not, Or

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

OPENS = frozenset(("open", "openat", "openat2"))


def check(name: str, op: str, *values: str, modifier: str | None = None) -> Check:
    return Check(FieldExpr(name, None, 0), op, tuple(Literal(value, 0) for value in values), 0, modifier)


READS = check("evt.is_open_read", "=", "true")
WRITES = check("evt.is_open_write", "=", "true")
SUCCEEDED = check("fd.num", ">=", "0")
SHADOW = check("fd.name", "=", "/etc/shadow")
BELOW_ETC = check("fd.name", "startswith", "/etc/")
OPAQUE = check("proc.name", "=", "cat")


def keeps(node: Node, open_class: int, *paths: str) -> bool:
    return plan([(OPENS, node)]).keeps(open_class, *paths)


def test_only_the_named_path_is_kept() -> None:
    assert keeps(And((READS, SHADOW, OPAQUE)), READ, "/etc/shadow")
    assert not keeps(And((READS, SHADOW, OPAQUE)), READ, "/etc/shadow2")
    assert not keeps(And((READS, SHADOW, OPAQUE)), READ, "/etc")


def test_either_spelling_is_enough() -> None:
    assert keeps(SHADOW, READ, "/tmp/link", "/etc/shadow")
    assert keeps(SHADOW, READ, "/etc/shadow", "/tmp/link")


def test_the_access_mode_is_tested_first() -> None:
    node = And((WRITES, BELOW_ETC))
    assert keeps(node, WRITE, "/etc/x")
    assert keeps(node, READ_WRITE, "/etc/x")
    assert not keeps(node, READ, "/etc/x")


def test_a_failed_open_is_dropped_where_rules_want_an_fd() -> None:
    assert not keeps(And((READS, SUCCEEDED, SHADOW)), FAILED, "/etc/shadow")
    assert keeps(And((READS, SHADOW)), FAILED, "/etc/shadow")


def test_what_the_kernel_cannot_decide_is_kept() -> None:
    assert keeps(OPAQUE, READ, "/any")
    assert keeps(Not(SHADOW), READ, "/any")
    assert keeps(Or((SHADOW, OPAQUE)), READ, "/any")


def test_a_branch_for_other_events_does_not_widen() -> None:
    other = And((check("evt.type", "in", "execve", "execveat"), OPAQUE))
    assert not keeps(Or((And((check("evt.type", "=", "openat"), SHADOW)), other)), READ, "/any")


def test_never_true_is_never() -> None:
    never = check("evt.num", "=", "0")
    assert clauses_of(And((SHADOW, never)), OPENS) == []
    assert keeps(And((SHADOW, Not(never))), READ, "/etc/shadow")


def test_names_and_directories_are_kept() -> None:
    assert keeps(check("fd.filename", "in", ".bashrc"), READ, "/home/u/.bashrc")
    assert not keeps(check("fd.filename", "in", ".bashrc"), READ, "/home/u/bashrc")
    assert keeps(check("fd.directory", "=", "/etc"), READ, "/etc/x")
    assert keeps(check("fd.directory", "=", "/etc"), READ, "/etc")
    assert not keeps(check("fd.directory", "=", "/etc"), READ, "/etcx/y")


def test_an_exact_path_below_a_prefix_satisfies_both() -> None:
    both = plan([(OPENS, And((READS, BELOW_ETC))), (OPENS, And((WRITES, SHADOW)))])
    assert both.keeps(READ, "/etc/shadow")
    assert both.keeps(WRITE, "/etc/shadow")
    assert not both.keeps(WRITE, "/etc/passwd")


def test_rules_that_need_every_open_are_known() -> None:
    assert pushdown.needs_every_read(OPENS, And((READS, OPAQUE)))
    assert not pushdown.needs_every_read(OPENS, And((READS, OPAQUE, SHADOW)))
    assert not pushdown.needs_every_read(OPENS, And((WRITES, OPAQUE)))
    assert not pushdown.needs_every_read(frozenset(("execve",)), OPAQUE)


def test_a_rule_about_dots_needs_only_the_paths_with_dots() -> None:
    dots = And((READS, check("fd.nameraw", "contains", "../")))
    assert not keeps(dots, READ, "/etc/shadow")  # the kernel keeps every passed path that holds "../" before it asks


def test_more_clauses_than_fit_are_widened_not_lost() -> None:
    rules = [(OPENS, check("fd.name", "=", f"/data/{i}")) for i in range(1000)]
    made = plan(rules)
    assert len(made.clauses) == pushdown.MAX_CLAUSES
    assert all(made.keeps(READ, f"/data/{i}") for i in range(1000))
    assert not made.keeps(READ, "/data/x")


# Property: a random condition, true of a random open whatever the undecidable leaves are, keeps that open

PATHS = ["/", "/etc", "/etc/", "/etc/shadow", "/etc/shadow2", "/etc/ssh/x", "/usr/bin/ls", "/home/u/.ssh/id", "/shadow"]
VALUES = ["/etc", "/etc/", "/etc/shadow", "/usr", "/home/*/.ssh/*", "/e", "shadow", "id", "/", "etc"]

leaves = st.one_of(
    st.builds(
        lambda name, op, values: check(name, op, *values),
        st.sampled_from(["fd.name", "fd.directory", "fd.filename", "proc.name", "fd.nameraw"]),
        st.sampled_from(["=", "in", "startswith", "endswith", "contains", "glob", "pmatch", "!="]),
        st.lists(st.sampled_from(VALUES), min_size=1, max_size=3),
    ),
    st.builds(
        lambda name, op, value: check(name, op, value),
        st.sampled_from(["evt.is_open_read", "evt.is_open_write"]),
        st.sampled_from(["=", "!="]),
        st.sampled_from(["true", "false"]),
    ),
    st.builds(lambda op, v: check("fd.num", op, v),
              st.sampled_from([">=", "<", ">", "<="]), st.sampled_from(["0", "-1"])),
    st.builds(lambda op, v: check("evt.type", op, *v), st.sampled_from(["=", "in", "!="]),
              st.lists(st.sampled_from(["open", "openat", "execve"]), min_size=1, max_size=1)),
    st.builds(lambda op, v: check("evt.num", op, v),
              st.sampled_from(["=", "<", "<=", ">"]), st.sampled_from(["0", "1"])),
)  # fmt: skip
nodes = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.builds(Not, inner),
        st.builds(And, st.lists(inner, min_size=2, max_size=3).map(tuple)),
        st.builds(Or, st.lists(inner, min_size=2, max_size=3).map(tuple)),
    ),
    max_leaves=8,
)


def _compare(op: str, value: str, wanted: list[str]) -> bool:
    import fnmatch
    import re

    if op == "=":
        return value == wanted[0]
    if op == "!=":
        return value != wanted[0]
    if op == "in":
        return value in wanted
    if op == "startswith":
        return value.startswith(wanted[0])
    if op == "endswith":
        return value.endswith(wanted[0])
    if op == "contains":
        return wanted[0] in value
    if op == "glob":
        return re.match(fnmatch.translate(wanted[0]), value) is not None
    parts = [p for p in value.split("/") if p]
    for one in wanted:
        pattern = [p for p in one.split("/") if p]
        if len(pattern) <= len(parts) and all(fnmatch.fnmatchcase(a, b) for a, b in zip(parts, pattern, strict=False)):
            return True
    return False


def _holds(node: Node, open_class: int, path: str, kind: str, luck: random.Random) -> bool:
    if isinstance(node, Not):
        return not _holds(node.term, open_class, path, kind, luck)
    if isinstance(node, And):
        return all(_holds(term, open_class, path, kind, luck) for term in node.terms)
    if isinstance(node, Or):
        return any(_holds(term, open_class, path, kind, luck) for term in node.terms)
    assert isinstance(node, Check)
    assert isinstance(node.left, FieldExpr)
    assert isinstance(node.right, tuple)
    name, op = node.left.name, node.op
    values = [literal.text for literal in node.right if isinstance(literal, Literal)]
    if name == "evt.type":
        return (kind in values) == (op != "!=")
    if name in ("fd.num", "evt.num"):
        number = (3 if open_class != FAILED else -2) if name == "fd.num" else 7
        compare = {">=": number >= int(values[0]), "<": number < int(values[0]), ">": number > int(values[0]),
                   "<=": number <= int(values[0]), "=": number == int(values[0])}  # fmt: skip
        return compare[op]
    if name in ("evt.is_open_read", "evt.is_open_write") and open_class in (READ, WRITE, READ_WRITE):
        truth = open_class in ((READ, READ_WRITE) if name == "evt.is_open_read" else (WRITE, READ_WRITE))
        return (truth == (values[0] == "true")) == (op == "=")
    if name == "fd.name":
        return _compare(op, path, values)
    if name == "fd.directory":
        return _compare(op, path.rsplit("/", 1)[0] or "/", values)
    if name == "fd.filename" and open_class != FAILED:
        return _compare(op, path.rsplit("/", 1)[-1], values)
    return luck.random() < 0.5


@settings(max_examples=2000, deadline=None)
@given(
    nodes,
    st.integers(0, 4),
    st.sampled_from([p for p in PATHS if p == "/" or not p.endswith("/")]),
    st.sampled_from(["open", "openat"]),
    st.integers(),
)
def test_whatever_matches_is_kept(node: Node, open_class: int, path: str, kind: str, seed: int) -> None:
    if _holds(node, open_class, path, kind, random.Random(seed)):
        assert keeps(node, open_class, path)


# The kernel program decides as the model does


@pytest.fixture(scope="module")
def capture() -> Iterator[Capture]:
    loaded = Capture()
    loaded.want(("open", "openat", "openat2", "creat", "procexit"))
    loaded.attach()
    yield loaded
    loaded.close()


def _opened(capture: Capture, pid: int) -> list[Event]:
    found: list[Event] = []
    for header, payload in capture.events.drain():
        assert isinstance(header, Header)
        if header.pid == pid and header.kind == KIND_SYSCALL:
            name = capture.numbers.event_name(header.nr, False)
            assert name is not None
            found.append(Event(ROWS[name], header, payload, 1, 0))
    return found


@pytest.mark.live
def test_the_kernel_decides_as_the_model(capture: Capture, tmp_path: Path) -> None:
    """Random paths under random plans, opened for real in every spelling; every file that the model keeps is told."""
    luck = random.Random(5)
    names = ["a", "ab", "secret", "b.conf", "x" * 62, "y" * 63, "z" * 64, "é"]
    for directory in ("d", "d/e", "dd"):
        (tmp_path / directory).mkdir()
        for name in names:
            (tmp_path / directory / name).write_text("x")
    (tmp_path / "d/link").symlink_to("../dd/secret")
    files = sorted(p for p in tmp_path.rglob("*") if not p.is_dir())
    asked = missed = extra = 0
    for _ in range(12):
        terms: list[Node] = []
        for _ in range(luck.randint(1, 6)):
            path = str(luck.choice(files))
            terms.append(
                luck.choice(
                    [
                        And((luck.choice([READS, WRITES]), check("fd.name", "=", path))),
                        And(
                            (luck.choice([READS, WRITES]), check("fd.name", "startswith", path[: -luck.randint(1, 3)]))
                        ),
                        And((READS, SUCCEEDED, check("fd.filename", "=", os.path.basename(path)))),
                        And((WRITES, check("fd.directory", "=", os.path.dirname(path)))),
                        check("fd.name", "=", str(tmp_path / "missing")),
                    ]
                )
            )
        made = plan([(OPENS, Or(tuple(terms)) if len(terms) > 1 else terms[0])])
        capture.filter_opens(made)
        jobs: list[tuple[str, int, Path]] = []
        for file in [*files, tmp_path / "missing", tmp_path / "missing2"]:
            for mode in (os.O_RDONLY, os.O_WRONLY, os.O_RDWR):
                spelling = luck.choice(
                    [str(file), os.path.relpath(file, tmp_path), os.path.relpath(file, tmp_path / "d")]
                )
                jobs.append((spelling, mode, tmp_path / "d" if spelling.startswith("..") else tmp_path))
        pid = os.fork()
        if pid == 0:
            for spelling, mode, cwd in jobs:
                os.chdir(cwd)
                with contextlib.suppress(OSError):
                    os.close(os.open(spelling, mode))
            os._exit(0)
        os.waitpid(pid, 0)
        told = [(e.opened_as.raw, e.arg(3) & 3) for e in _opened(capture, pid) if e.opened_as is not None]
        for spelling, mode, cwd in jobs:
            joined = os.path.normpath(cwd / spelling)
            opened = os.path.exists(joined)
            open_class = mode if opened else FAILED
            model = made.keeps(open_class, *((os.path.realpath(joined), joined) if opened else (joined,)))
            asked += 1
            key = (spelling, {0: 1, 1: 2, 2: 3}[mode])
            if model and key not in told:
                missed += 1
            if not model and key in told and ".." not in spelling:
                extra += 1
    assert asked > 900
    assert missed == 0
    assert extra == 0, "the kernel keeps what it could drop"


@pytest.mark.live
def test_opens_that_no_rule_names_stay_in_the_kernel(capture: Capture) -> None:
    capture.filter_opens(plan([(OPENS, And((READS, SHADOW)))]))
    capture.events.drain()
    before = capture.counters().sent["open"]
    pid = os.fork()
    if pid == 0:
        for _ in range(2000):
            os.close(os.open("/etc/hostname", os.O_RDONLY))
        os.close(os.open("/etc/shadow", os.O_RDONLY))
        os._exit(0)
    os.waitpid(pid, 0)
    assert [e.fd_name for e in _opened(capture, pid)] == ["/etc/shadow"]
    assert capture.counters().sent["open"] - before < 100


def test_a_plan_without_clauses_keeps_nothing() -> None:
    assert not Plan().keeps(READ, "/etc/shadow")
