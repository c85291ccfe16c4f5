# SPDX-License-Identifier: Apache-2.0
"""An offset in a value leads back to the line and column in the file, whatever YAML style it was written in."""

from __future__ import annotations

import pytest
import yaml

from falco_py.rules.places import Scalar, Source, Text


def scalar(text: str) -> Scalar:
    """The value of the only key of a mapping."""
    node = yaml.compose(text, Loader=yaml.SafeLoader).value[0][1]
    return Scalar(Source("f", text), node.value, node.start_mark.index, node.end_mark.index, node.style)


@pytest.mark.parametrize(
    ("text", "line", "column"),
    [
        ("k: aa HERE", 1, 7),
        ("k: 'aa HERE'", 1, 8),
        ('k: "aa HERE"', 1, 8),
        ("k: |\n  aa HERE\n", 2, 6),
        ("k: >\n  aa\n  bb HERE\n", 3, 6),
        ("k: >-\n  aa\n\n  bb HERE\n", 4, 6),
        ("k: aa\n  bb\n  HERE\n", 3, 3),
        ("k: |\n  aa\n    bb HERE\n", 3, 8),
        ("k: é日 HERE", 1, 7),
        ("k: 'aa\tHERE'", 1, 8),
        ("\ufeffk: aa HERE", 1, 7),
        ("# a\r\nk: aa HERE", 2, 7),
    ],
)
def test_a_word_is_found_where_it_was_written(text: str, line: int, column: int) -> None:
    value = scalar(text.removeprefix("\ufeff"))
    place = value.place_at(value.value.index("HERE"))
    assert (place.line, place.column) == (line, column)


def test_joined_texts_keep_their_places() -> None:
    first, second = scalar("k: one"), scalar("k: |\n  two three\n")
    text = Text.join((Text.of(first), Text.made(" ", second), Text.of(second)))
    assert text.value == "one two three\n"
    assert text.where(2)[1][1:3] == (1, 6)
    assert text.where(text.value.index("three"))[1][1:3] == (2, 7)


def test_stripped_and_cut_texts_keep_their_places() -> None:
    text = Text.of(scalar("k: '  one two  '")).strip()
    assert text.value == "one two"
    assert text.slice(4, 3).where(0)[1].column == 11


def test_a_snippet_is_the_line_and_a_caret_below_the_column() -> None:
    source = Source("f", "first\nsecond\n")
    assert source.snippet(source.place(8)) == "second\n  ^"


def test_a_long_line_is_cut_around_the_caret() -> None:
    source = Source("f", "x" * 500 + "HERE" + "y" * 500)
    line, caret = source.snippet(source.place(500)).split("\n")
    assert len(line) <= 166
    assert line[len(caret) - 1 :].startswith("HERE")
    assert line.startswith("...")
    assert line.endswith("...")


def test_control_characters_do_not_reach_the_snippet() -> None:
    source = Source("f", "a\x1b[31mb")
    assert "\x1b" not in source.snippet(source.place(0))
