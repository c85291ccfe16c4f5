# SPDX-License-Identifier: Apache-2.0
"""The checks of configuration and rules: who may write what the agent reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from falco_py.config import load
from falco_py.support import settings
from falco_py.support.finding import Question
from tests.support.findings import asked

if TYPE_CHECKING:
    from pathlib import Path

RIGHTS = next(check.run for check in settings.CHECKS if check.name == "rights")


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    made = tmp_path / "etc"
    (made / "rules.d").mkdir(parents=True)
    (made / "rules.d" / "one.yaml").write_text("- list: a\n  items: [b]\n")
    (made / "falco.yaml").write_text(f"rules_files: [{made}/rules.d]\n")
    for path in (made, made / "rules.d"):
        path.chmod(0o755)
    return made


def told(directory: Path) -> str:
    path = str(directory / "falco.yaml")
    (found,) = asked(RIGHTS, Question(path, config=load(path, ())))
    return found


def test_what_only_its_owner_can_write_is_fine(directory: Path) -> None:
    assert told(directory).startswith("ok ")


@pytest.mark.parametrize(
    ("name", "mode"), [("falco.yaml", 0o666), ("rules.d/one.yaml", 0o646), ("rules.d", 0o1777), ("", 0o777)]
)
def test_what_every_user_can_write_is_told(directory: Path, name: str, mode: int) -> None:
    path = directory / name
    path.chmod(mode)
    assert told(directory) == f"warn every user can write {path} -> chmod o-w {path}"


def test_files_in_a_sticky_directory_are_safe(directory: Path) -> None:
    directory.chmod(0o1777)
    assert told(directory).startswith("ok ")
