# SPDX-License-Identifier: Apache-2.0
"""The page about broken rules says what is told today."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from falco_py.rules.bundle import load
from falco_py.rules.problems import RulesError
from tests.rules.rule_errors import BROKEN, PAGE, page

if TYPE_CHECKING:
    from pathlib import Path

FILES = sorted(BROKEN.glob("*.yaml"))


def test_the_page_is_what_the_files_give() -> None:
    assert PAGE.read_text() == page(), "run 'make docs'"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_error_shows_its_line_and_says_what_to_write(path: Path) -> None:
    with pytest.raises(RulesError) as caught:
        load([("f", path.read_text())])
    for problem in caught.value.problems:
        assert problem.hint
        assert problem.snippet.splitlines()[0].strip()
