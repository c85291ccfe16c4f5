# SPDX-License-Identifier: Apache-2.0
"""Which files are left out when some are broken, how rules are named, and mistakes in a line."""

from __future__ import annotations

import hashlib

import pytest

from falco_py.config import ConfigError, Place, Problem
from falco_py.rules.bundle import Bundle, load
from falco_py.rules.problems import RulesError
from falco_py.ruleset import File, LeftOut, Mistake, digest, mistake, without_broken


def rule(name: str, condition: str = "evt.type = openat") -> str:
    return f"- rule: {name}\n  desc: d\n  condition: {condition}\n  output: o\n  priority: INFO\n"


MACRO = "- macro: opened\n  condition: evt.type = openat\n"
GOOD = ("good.yaml", rule("good"))
BROKEN = ("broken.yaml", rule("broken", "evt.tpye = openat"))


def rest(*files: File) -> tuple[Bundle, list[File], list[LeftOut]]:
    with pytest.raises(RulesError) as raised:
        load(files)
    return without_broken(files, load, raised.value)


def names(bundle: Bundle) -> list[str]:
    return [one.name for one in bundle.rules]


def test_a_broken_file_is_left_out_with_the_place_of_its_mistake() -> None:
    bundle, kept, left_out = rest(GOOD, BROKEN, ("last.yaml", rule("last")))
    assert names(bundle) == ["good", "last"]
    assert kept == [GOOD, ("last.yaml", rule("last"))]
    (one,) = left_out
    assert one.file == "broken.yaml"
    assert one.mistake.place == "broken.yaml:3:14"
    assert "evt.tpye" in one.mistake.what
    assert one.details.startswith("broken.yaml:3:14: error")


def test_a_file_that_needs_one_left_out_goes_as_well() -> None:
    broken = ("macros.yaml", MACRO + BROKEN[1])
    bundle, _, left_out = rest(GOOD, broken, ("user.yaml", rule("user", "opened and proc.name = x")))
    assert names(bundle) == ["good"]
    assert [one.file for one in left_out] == ["macros.yaml", "user.yaml"]


def test_a_file_that_breaks_an_earlier_one_goes_and_the_earlier_one_stays() -> None:
    first = ("first.yaml", MACRO + rule("first", "opened and proc.name = x"))
    second = ("second.yaml", "- macro: opened\n  condition: evt.type = \n")
    bundle, _, left_out = rest(first, second)
    assert names(bundle) == ["first"]
    assert [one.file for one in left_out] == ["second.yaml"]


def test_a_file_that_needs_a_later_one_stays() -> None:
    user, macro = ("user.yaml", rule("user", "opened and proc.name = x")), ("macro.yaml", MACRO)
    bundle, kept, left_out = rest(user, BROKEN, macro)
    assert names(bundle) == ["user"]
    assert kept == [user, macro]
    assert [one.file for one in left_out] == ["broken.yaml"]


@pytest.mark.parametrize("files", [[BROKEN], [BROKEN, ("list.yaml", "- list: names\n  items: [x]\n")]])
def test_nothing_is_no_set_of_rules(files: list[File]) -> None:
    with pytest.raises(RulesError) as raised:
        rest(*files)
    assert "broken.yaml" in str(raised.value)


def test_the_same_file_given_twice_is_looked_at_twice() -> None:
    bundle, kept, left_out = rest(GOOD, BROKEN, BROKEN, GOOD)
    assert (names(bundle), kept, len(left_out)) == (["good"], [GOOD, GOOD], 2)


def test_a_digest_is_that_of_names_and_texts_in_order() -> None:
    one, other = ("a", "xy"), ("b", "z")
    assert digest([one, other]) == digest([one, other])
    assert digest([one]) == hashlib.sha256(b"1:a2:xy").hexdigest()[:12]
    different = [[one, other], [other, one], [one], [("a", "x"), ("yb", "z")], [("ax", "y"), other], [("a", "xyz")]]
    assert len({digest(files) for files in different}) == len(different)
    assert digest([("a\udcff", "\udcff")])


def test_a_mistake_of_rules_is_the_first_error_with_the_number_of_all() -> None:
    with pytest.raises(RulesError) as raised:
        load([("a.yaml", rule("one", "evt.tpye = x") + rule("two", "proc.nmae = y"))])
    line = mistake(raised.value).line()
    assert line.startswith("a.yaml:3:14: rule 'one': ")
    assert line.endswith(" (2 errors)")


def test_a_mistake_of_the_configuration_is_without_the_line_it_stands_in() -> None:
    error = ConfigError(
        [Problem(Place("f.yaml", 3, 4), "wrong", snippet="token: secret"), Problem(Place("f.yaml"), "b")]
    )
    assert mistake(error).line() == "f.yaml:3:4: wrong (2 errors)"


def test_a_mistake_is_one_line_of_bounded_length() -> None:
    line = Mistake("a.yaml:1:1", "bad\nfield \x1b[31m" + "x" * 1000, 17).line(100)
    assert len(line) == 100
    assert line.startswith("a.yaml:1:1: bad\\nfield \\x1b[31m")
    assert line.endswith("... (17 errors)")


def test_any_other_error_is_its_first_line() -> None:
    assert mistake(OSError("no room\nat all")).line() == "no room"
    assert mistake(ValueError()).line() == "ValueError"
