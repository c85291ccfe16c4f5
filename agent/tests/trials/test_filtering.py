# SPDX-License-Identifier: Apache-2.0
"""What `explain` says of the kernel's part in a rule."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from falco_py.kernel.formulas import MAX_RULE_CLAUSES
from falco_py.kernel.pushdown import MAX_CLAUSES
from falco_py.trials.filtering import filtering
from falco_py.trials.selectivity import part_of, wording
from tests.trials.rulesfile import trials

if TYPE_CHECKING:
    from falco_py.trials.filtering import Filtering

RULE = """\
- rule: {name}
  desc: d
  condition: {condition}
  output: o
  priority: INFO
"""


def told(*conditions: str) -> list[Filtering]:
    """Of the last rule."""
    load = trials("".join(RULE.format(name=f"r{n}", condition=one) for n, one in enumerate(conditions)))
    name = f"r{len(conditions) - 1}"
    return filtering(load.rules[name], load.outlines.rule(name), load.plan(load.rules[name]))


def text(*conditions: str) -> str:
    return "\n".join(line for one in told(*conditions) for line in one.text())


def guess(condition: str) -> float:
    (one,) = told(f"evt.type = openat and {condition}")
    return one.part


def test_every_fact_is_named() -> None:
    assert text("evt.type = ptrace and evt.arg.request = PTRACE_ATTACH and evt.rawres = 0 and proc.name = gdb "
                "and proc.exepath = /usr/bin/gdb and user.name = joe").split("\n")[1:] == [
        "  result: evt.rawres = 0",
        "  argument: evt.arg.request = PTRACE_ATTACH",
        "  name of the thread: proc.name = gdb",
        "  program (from its second call on): proc.exepath = /usr/bin/gdb",
        "  in user space only:",
        "    user.name = joe",
    ]  # fmt: skip
    assert "  kind of the fd: fd.type = ipv4" in text("evt.type = connect and fd.type = ipv4")


def test_event_types_that_behave_alike_stand_together() -> None:
    groups = told("evt.type in (open, openat, openat2, creat) and evt.is_open_read = true and fd.name = /etc/shadow")
    assert [one.event_types for one in groups] == [("creat",), ("open", "openat"), ("openat2",)]
    creat, plain, openat2 = groups
    assert (creat.alternatives, creat.part) == ((), 0.0)
    assert plain.user_space == ()
    assert openat2.user_space == ("evt.is_open_read = true",)  # its flags lie in the memory of the process


def test_what_holds_for_other_event_types_is_left_out() -> None:
    (dup, opens) = told("evt.type in (dup, open) and (evt.type = dup or (fd.name = /x and user.name = joe))")
    assert dup.event_types == ("dup",)
    assert dup.user_space == ()
    assert opens.user_space == ("user.name = joe",)


def test_alternatives_are_told_with_what_they_share_first() -> None:
    found = text("evt.type = open and evt.rawres >= 0 and (fd.name = /a and proc.name = b or fd.name = /c)")
    assert found.split("\n")[1:] == [
        "  result: evt.rawres >= 0",
        "  and one of",
        "    name of the thread: proc.name = b; path: fd.name = /a",
        "    path: fd.name = /c",
    ]


def test_a_rule_that_filters_nothing_is_told_what_would_help() -> None:
    (one,) = told("evt.type in (open, openat) and user.name = joe")
    assert one.part == 1.0
    assert one.text()[0] == "open, openat: every call reaches user space"
    assert "the kernel filters nothing of it; it would help to ask, in every case, for a path" in one.text()[1]
    assert "fd.type" in text("evt.type = connect and user.name = joe")
    assert "evt.arg.request" in text("evt.type = ptrace and user.name = joe")
    assert "would help" not in text("evt.type = connect and evt.failed = true")


def test_starts_and_ends_of_processes_are_always_told() -> None:
    assert "those that fail are filtered" in text("evt.type = execve and evt.rawres = 0")
    assert "those that fail do, too" in text("evt.type = execve and user.name = joe")
    assert text("evt.type = procexit") == "procexit: every end of a process reaches user space, whatever a rule asks"


def test_what_was_widened_is_told() -> None:
    pairs = " or ".join(f"(fd.name = /a{n} and proc.name = b{n})" for n in range(MAX_RULE_CLAUSES + 1))
    assert "widened: there are more than 24 alternatives, so each" in text(f"evt.type = open and ({pairs})")
    assert "not /etc/*" in text("evt.type = open and fd.filename = shadow and fd.name startswith /etc/")
    assert "by their first 255 bytes, how" in text(f"evt.type = open and fd.name startswith /{'a' * 300}")
    assert "8 bytes of it: *_key.pem" in text("evt.type = open and fd.name endswith id_rsa_key.pem")
    assert "8 bytes of it: */id" in text("evt.type = open and fd.name endswith /.ssh/id")


def test_a_rule_among_too_many_is_told_what_is_left_of_its_filter() -> None:
    many = [f"evt.type = open and evt.is_open_write = true and fd.name = /a{n}" for n in range(MAX_CLAUSES + 10)]
    found = text(*many)
    assert "widened: all rules together have more than 512 alternatives" in found
    assert "open flags" not in found


def test_guesses_follow_what_is_asked() -> None:
    assert guess("fd.name = /etc/shadow") < guess("fd.name startswith /etc/") < guess("fd.num >= 0") < 1
    assert guess("evt.is_open_write = true") < guess("evt.is_open_read = true")
    assert guess("fd.name = /a and proc.name = b") < guess("fd.name = /a")
    assert guess("proc.name = b") < guess("(proc.name = b or proc.name = c)") < guess("not proc.name = b")
    assert guess("user.name = joe") == 1
    assert part_of([], "openat") == 0


@pytest.mark.parametrize(
    ("part", "words"),
    [
        (0.0, "no call reaches user space"),
        (1.0, "every call reaches user space"),
        (0.95, "nearly every call reaches user space"),
        (0.5, "about half of the calls reach user space"),
        (0.12, "about 1 in 10 calls reaches user space"),
        (0.0001, "about 1 in 10,000 calls reaches user space"),
        (1e-9, "fewer than 1 in 1,000,000 calls reaches user space"),
    ],
)
def test_a_guess_is_told_to_a_power_of_ten(part: float, words: str) -> None:
    assert wording(part) == words
