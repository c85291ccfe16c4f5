# SPDX-License-Identifier: Apache-2.0
"""Where the kernel's plan is looser than the conditions, it says so."""

from __future__ import annotations

from typing import TYPE_CHECKING

from falco_py.kernel.formulas import MAX_RULE_CLAUSES
from falco_py.kernel.pushdown import MAX_CLAUSES
from falco_py.kernel.widening import Reason, notice
from tests.kernel.test_pushdown import bundle, planned

if TYPE_CHECKING:
    from falco_py.kernel.pushdown import Plan


def made_of(*conditions: str) -> Plan:
    return planned(bundle(*conditions))


def test_what_is_compared_as_it_is_written_leaves_nothing_to_tell() -> None:
    assert not made_of("evt.type in (open, openat) and fd.name startswith /etc/ and proc.name != cat").widened


def test_alternatives_without_end_are_told() -> None:
    pairs = " or ".join(f"(fd.name = /a{i} and proc.name = b{i})" for i in range(MAX_RULE_CLAUSES + 1))
    (told,) = made_of(f"evt.type = openat and ({pairs})").widened
    assert told.reason is Reason.ALTERNATIVES
    assert told.event_types == {"openat"}
    assert told.rules == ("r0",)


def test_alternatives_of_which_one_is_not_known_anyway_are_not_told() -> None:
    pairs = " or ".join(f"(fd.name = /a{i} and proc.name = b{i})" for i in range(MAX_RULE_CLAUSES + 1))
    assert not made_of(f"evt.type = openat and ({pairs} or user.name = joe)").widened


def test_rules_that_share_a_clause_because_there_are_too_many_are_told() -> None:
    made = made_of(*(f"evt.type = openat and fd.name = /a{i}" for i in range(MAX_CLAUSES + 10)))
    (told,) = made.widened
    assert told.reason is Reason.CLAUSES
    assert told.rules[-1] == f"r{MAX_CLAUSES + 9}"
    assert "r0" not in told.rules
    assert f"{len(told.rules)} rules have more alternatives than" in notice(made.widened)
    assert len(made.clauses) <= MAX_CLAUSES


def test_paths_that_are_not_looked_up_are_told() -> None:
    (told,) = made_of("evt.type = open and fd.filename = shadow and fd.name startswith /etc/").widened
    assert told.reason is Reason.PATHS
    assert {one.text for one in told.patterns} == {"/etc/"}
    assert not notice([told])


def test_a_path_longer_than_the_key_is_told() -> None:
    (told,) = made_of(f"evt.type = open and fd.name startswith /{'a' * 300}").widened
    assert told.reason is Reason.CUT
    assert {len(one.text) for one in told.patterns} == {255}
    assert not made_of(f"evt.type = open and fd.name startswith /{'a' * 254}").widened
