# SPDX-License-Identifier: Apache-2.0
"""The tests of the default rules pass, and each rule has one that makes it fire."""

from __future__ import annotations

from pathlib import Path

from falco_py.trials.coverage import Coverage
from falco_py.trials.given import GivenCatalogue
from falco_py.trials.load import Trials
from falco_py.trials.suite import Reader, check_names, run

RULES = Path(__file__).parents[3] / "rules"
FILE = RULES / "tests" / "falco_rules_test.yaml"


def test_the_default_rules_do_what_their_tests_say() -> None:
    suite = Reader(GivenCatalogue(), lambda name, _: (name, "")).suite(str(FILE), FILE.read_text())
    assert [name for name, _ in suite.rules_files] == ["../falco_rules.yaml"]
    load = Trials([("falco_rules.yaml", (RULES / "falco_rules.yaml").read_text())], complete=True)
    check_names(suite, load)
    cover = Coverage(load)
    assert [result.text() for test in suite.tests if not (result := run(test, load, cover.event)).passed] == []
    assert [name for name, count in cover.fired.items() if not count] == []
