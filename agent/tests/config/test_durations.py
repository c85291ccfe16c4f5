# SPDX-License-Identifier: Apache-2.0
"""Durations as Prometheus writes them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from falco_py.config.durations import milliseconds

HOUR = 3_600_000


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("1h", HOUR), ("1h30m", HOUR * 3 // 2), ("500ms", 500), ("1s500ms", 1500),
        ("15d", 360 * HOUR), ("2w", 336 * HOUR),
        ("1y", 8760 * HOUR), ("1y1w1d1h1m1s1ms", 8760 * HOUR + 192 * HOUR + HOUR + 61_001), ("0s", 0),
        ("90m", 90 * 60_000),
        (" 5m ", 300_000),
    ],
)  # fmt: skip
def test_durations(text: str, ms: int) -> None:
    assert milliseconds(text) == ms


@pytest.mark.parametrize(
    "text", ["", " ", "5000", "30m1h", "1h1h", "1ms1s", "1.5h", "-1h", "+1h", "1 h", "1H", "h", "1hour", "1m30", "١h"]
)
def test_what_is_no_duration(text: str) -> None:
    assert milliseconds(text) is None


UNITS = {"y": 365 * 24 * HOUR, "w": 168 * HOUR, "d": 24 * HOUR, "h": HOUR, "m": 60_000, "s": 1000, "ms": 1}


@given(st.dictionaries(st.sampled_from(list(UNITS)), st.integers(0, 10**6), min_size=1))
def test_units_in_order_add_up(parts: dict[str, int]) -> None:
    text = "".join(f"{parts[unit]}{unit}" for unit in UNITS if unit in parts)
    assert milliseconds(text) == sum(count * UNITS[unit] for unit, count in parts.items())


@given(st.text(alphabet="0123456789ywdhms. -"))
def test_any_text_is_a_time_or_none(text: str) -> None:
    found = milliseconds(text)
    assert found is None or found >= 0
