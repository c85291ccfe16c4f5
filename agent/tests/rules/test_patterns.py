# SPDX-License-Identifier: Apache-2.0
"""Matchers for text from hostile processes: the right answer, in linear time, without an exception."""

from __future__ import annotations

import fnmatch
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from falco_py.rules.patterns import (
    PathSet,
    basename,
    concat,
    from_base64,
    get_options,
    glob_match,
    glob_matcher,
    join,
    length,
    lower,
    regex_matcher,
    upper,
)


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        ("a*c", ["ac", "abc", "a/b/c", "a\nc"], ["ab", "xac"]),
        ("a?c", ["abc", "a/c", "aéc"], ["ac", "abbc"]),
        ("[a-c]x", ["ax", "cx"], ["dx", "-x"]),
        ("[!a-c]x", ["dx"], ["ax"]),
        ("[^a]x", ["bx"], ["ax"]),
        ("[]]x", ["]x"], ["x"]),
        ("[a", ["[a"], ["a"]),
        ("[[:digit:]]*", ["1a"], ["a1"]),
        (r"a\*", ["a*"], ["ab"]),
        ("a.c+", ["a.c+"], ["abc+", "a.cc"]),
        ("", [""], ["a"]),
        ("**", ["", "a"], []),
    ],
)
def test_glob(pattern: str, yes: list[str], no: list[str]) -> None:
    matches = glob_matcher(pattern)
    assert [value for value in yes if not matches(value)] == []
    assert [value for value in no if matches(value)] == []


def test_iglob_does_not_mind_letter_case() -> None:
    assert glob_matcher("A*c", fold=True)("aBC")
    assert not glob_matcher("A*c")("aBC")


@settings(max_examples=300, deadline=None)
@given(st.text("ab*?[]!-^\\.é", max_size=8), st.text("ab*?[]!-^\\.é", max_size=8))
def test_any_glob_compiles_and_agrees_with_fnmatch_on_plain_patterns(pattern: str, value: str) -> None:
    found = glob_matcher(pattern)(value)
    if not set(pattern) & set("[]\\^!"):
        assert found == fnmatch.fnmatchcase(value, pattern)


@pytest.mark.parametrize(
    ("paths", "yes", "no"),
    [
        (["/etc"], ["/etc", "/etc/passwd", "//etc//x", "etc/x", "/etc/"], ["/etcx", "/", "", "/a/etc"]),
        (["etc/"], ["/etc/passwd"], ["/etcx"]),
        (["/"], ["/", "/a", "", "a"], []),
        (["/a/b", "/a"], ["/a/c"], ["/b"]),
        (["/a/b", "/c"], ["/a/b/x", "/c"], ["/a", "/a/c"]),
        (["/proc/*/fd"], ["/proc/1/fd/2", "/proc/self/fd"], ["/proc/fd", "/proc/1/2/fd"]),
        (["/a?/[xy]"], ["/ab/x", "/ac/y/z"], ["/a/x", "/ab/z"]),
        (["/*/b", "/a/c"], ["/a/b", "/a/c", "/x/b"], ["/x/c"]),
    ],
)
def test_pmatch(paths: list[str], yes: list[str], no: list[str]) -> None:
    match = PathSet(paths).match
    assert [path for path in yes if not match(path)] == []
    assert [path for path in no if match(path)] == []


def test_regex_matches_the_whole_value_and_the_longest_way() -> None:
    assert regex_matcher("a|ab")("ab")
    assert not regex_matcher("a")("ab")
    assert not regex_matcher("b")("ab")


def test_bytes_that_are_no_utf8_match_as_replacement_characters() -> None:
    assert regex_matcher("a.b")("a\udcffb")
    assert glob_matcher("a?b")("a\udcffb")
    assert glob_match("a\udcffb", "a\udcff?")
    assert glob_matcher("[\udcff]*\\\udcff?")("\udcff\udcffa")


@pytest.mark.parametrize("pattern", ["(a*)*b", "(a|a)*b", "(.*)*x", "(a+)+$"])
def test_no_regex_takes_more_than_linear_time(pattern: str) -> None:
    matches = regex_matcher(pattern)
    start = time.perf_counter()
    matches("a" * 20_000)
    assert time.perf_counter() - start < 2


def test_no_glob_takes_more_than_linear_time() -> None:
    start = time.perf_counter()
    glob_matcher("*a" * 30 + "b")("a" * 20_000)
    assert time.perf_counter() - start < 2


def test_case_is_changed_for_ascii_only() -> None:
    assert (lower("AbÉ"), upper("aBé")) == ("abÉ", "ABé")
    assert lower(("A", "b")) == ("a", "b")
    assert lower(None) is None


def test_basename_is_what_follows_the_last_slash() -> None:
    assert [basename(path) for path in ("/a/b", "b", "/a/", "", None)] == ["b", "b", "", "", None]


def test_base64_that_is_none_gives_nothing() -> None:
    assert from_base64("aGk=") == "hi"
    assert from_base64(b"aGk=") == b"hi"
    assert from_base64("/w==") == "\udcff"
    for bad in ("aGk", "é", "!!!!", None):
        assert from_base64(bad) is None


def test_length_counts_bytes_or_elements() -> None:
    assert [length(value) for value in ("abc", "é", b"ab", ("x",), (), None)] == [3, 2, 2, 1, 0, None]


def test_length_of_bytes_that_are_no_utf8_counts_each_once() -> None:
    assert length(b"\xff\xfea".decode("utf-8", "surrogateescape")) == 3


def test_no_character_stops_a_regex() -> None:
    assert regex_matcher("a.*b")("a\ud800b")


def test_join_and_concat_are_missing_when_a_part_is() -> None:
    assert join(",", ("a", "b")) == "a,b"
    assert join(",", ("a", None)) is None
    assert join(",", None) is None
    assert concat("a", 1) == "a1"
    assert concat("a", None) is None


def test_getopt_finds_letters_and_their_values() -> None:
    args = ("-ab", "value", "file", "-c", "-b", "two", "--", "-a")
    assert get_options(args, "ab:c") == ("a", "b", "c", "b")
    assert get_options(args, "ab:c", "b") == ("value", "two")
    assert get_options(("-bval",), "b:", "b") == ("val",)
    assert get_options(("x",), "a") is None
    assert get_options(None, "a") is None


@given(st.text("ab/*", max_size=8), st.text("ab/", max_size=12))
def test_a_glob_of_stars_matches_what_fnmatch_matches(pattern: str, value: str) -> None:
    assert glob_matcher(pattern)(value) is fnmatch.fnmatchcase(value, pattern)
