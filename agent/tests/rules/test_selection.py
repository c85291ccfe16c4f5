# SPDX-License-Identifier: Apache-2.0
"""Which rules run after the selections of the configuration."""

from __future__ import annotations

import pytest

from falco_py.config.model import Selection
from tests.rules.standin import loaded, rule

TEXT = (
    rule("evt.type = open", name="Write below etc", tags="[a, b]")
    + rule("evt.type = open", name="Read below etc", tags="[b]")
    + rule("evt.type = open", name="Off.", enabled="false", tags="[a]")
)


def on(rule: str) -> Selection:
    return Selection(True, rule=rule)


def off(rule: str) -> Selection:
    return Selection(False, rule=rule)


@pytest.mark.parametrize(
    ("selections", "names"),
    [
        ([], "Write below etc,Read below etc"),
        ([off("*")], ""),
        ([off("Write*")], "Read below etc"),
        ([off("*below*")], ""),
        ([off("below")], "Write below etc,Read below etc"),
        ([on("Off.")], "Write below etc,Read below etc,Off."),
        ([on("Off?"), on("Of..")], "Write below etc,Read below etc"),
        ([off("*"), Selection(True, tag="a")], "Write below etc,Off."),
        ([Selection(False, tag="b"), on("Read below etc")], "Read below etc"),
        ([on("Read below etc"), Selection(False, tag="b")], ""),
        ([Selection(False, tag="*")], "Write below etc,Read below etc"),
    ],
)
def test_the_last_selection_that_fits_counts(selections: list[Selection], names: str) -> None:
    assert ",".join(one.name for one in loaded(TEXT, selections=selections).rules) == names
