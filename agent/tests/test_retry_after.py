# SPDX-License-Identifier: Apache-2.0
"""Whatever stands in Retry-After is a bounded time."""

from __future__ import annotations

import time
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from falco_py.retry_after import LONGEST_S, seconds


@pytest.mark.parametrize(
    ("header", "wanted"),
    [("0", 0), (" 7 ", 7), ("299", 299), ("301", LONGEST_S), ("9" * 400, LONGEST_S), ("", 0), ("-1", 0), ("nan", 0),
     ("1.5", 0), ("soon", 0), ("Thu, 01 Jan 1970 00:00:00 GMT", 0), ("Fri, 31 Dec 9999 23:59:59 GMT", LONGEST_S)],
)  # fmt: skip
def test_seconds(header: str, wanted: float) -> None:
    assert seconds(header) == wanted


def test_a_date() -> None:
    assert 50 < seconds(formatdate(time.time() + 60, usegmt=True)) <= 60


@given(st.text(max_size=40))
def test_any_text(header: str) -> None:
    assert 0 <= seconds(header) <= LONGEST_S
