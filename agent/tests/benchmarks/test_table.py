# SPDX-License-Identifier: Apache-2.0
"""The pure parts of the benchmarks, and that their options can be asked for. Nothing is measured here."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.__main__ import chosen, listed, parser
from benchmarks.rounds import turned
from benchmarks.settings import BASE, Setting
from benchmarks.table import UNKNOWN, Sample, layout, median, most, number, percentile, ratios, row, table

AGENT = Path(__file__).parents[2]


def test_a_median_leaves_out_what_is_not_known() -> None:
    assert median([3.0, None, 1.0, 2.0]) == 2.0
    assert median([4, 1]) == 2.5
    assert median([None]) is None
    assert most([1, None, 7]) == 7
    assert most([]) is None


def test_a_percentile_is_one_of_the_values() -> None:
    values = [float(value) for value in range(100, 0, -1)]
    assert percentile(values, 0.5) == 50
    assert percentile(values, 0.99) == 99
    assert percentile([5.0], 0.99) == 5
    with pytest.raises(ValueError, match="no values"):
        percentile([], 0.5)


def test_a_ratio_is_to_the_same_round() -> None:
    slow_machine_in_the_second = [Sample(100), Sample(1000)]
    assert ratios([Sample(150), Sample(1500)], slow_machine_in_the_second) == [1.5, 1.5]


def test_a_row_holds_medians_but_the_most_of_drops_and_memory() -> None:
    base = [Sample(100), Sample(100), Sample(100)]
    rounds = [
        Sample(110, 0.1, 1000, 0, 50.0, 20, 10),
        Sample(300, 0.3, 3000, 7, 90.0, 40, 12),
        Sample(120, 0.2, 2000, 2, 60.0, 30, 11),
    ]
    assert row("open", "our rules", rounds, base) == (
        "open", "our rules", "120", "1.20", "1.10", "3.00", "30", "11", "0.20", "2,000", "7", "90",
    )  # fmt: skip


def test_what_an_agent_would_say_is_unknown_without_one() -> None:
    assert row("open", BASE, [Sample(100)], [Sample(100)])[6:] == (UNKNOWN,) * 6
    assert number(None) == UNKNOWN
    assert number(1234567.891, 2) == "1,234,567.89"


def test_words_stand_left_and_numbers_right() -> None:
    assert list(layout(["load", "ns"], [["open", "1,234"], ["a", "5"]], 1)) == [
        "load     ns",
        "open  1,234",
        "a         5",
    ]


def test_a_table_names_a_load_once() -> None:
    lines = list(
        table(
            {
                ("stat", BASE): [Sample(100)],
                ("stat", "our rules"): [Sample(125, 0.5)],
                ("getppid", BASE): [Sample(10)],
            },
            BASE,
        )
    )
    assert [line.split()[0] for line in lines] == ["load", "stat", "our", "getppid"]
    assert lines[2].split()[:4] == ["our", "rules", "125", "1.25"]


def test_each_round_begins_with_another_setting() -> None:
    settings = [Setting(name, None) for name in "abc"]
    orders = ["".join(setting.name for setting in turned(settings, number)) for number in range(4)]
    assert orders == ["abc", "bca", "cab", "abc"]


def test_loads_are_chosen_by_a_part_of_their_name() -> None:
    names = ["open+close", "open, missing file", "stat"]
    assert chosen(names, listed("open, st")) == names
    assert chosen(names, ["missing"]) == ["open, missing file"]
    assert chosen(names, None) == names


def test_the_options_are_shown() -> None:
    shown = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--help"],
        cwd=AGENT,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout
    assert "--quick" in shown
    assert "BPF ns/turn" in shown
    assert parser().parse_args([]).rounds is None
