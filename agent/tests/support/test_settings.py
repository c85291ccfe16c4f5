# SPDX-License-Identifier: Apache-2.0
"""The checks of configuration and rules: who may write what the agent reads."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from falco_py.config import load
from falco_py.support import settings
from falco_py.support.finding import Question
from tests.support.findings import asked

AGENT = Path(__file__).parents[2]
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


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount")
def test_what_is_mounted_read_only_is_safe(directory: Path) -> None:
    (directory / "rules.d").chmod(0o777)
    script = (
        'mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" && exec "$2" -m falco_py doctor -c "$1/falco.yaml"'
    )
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", script, "sh", str(directory), sys.executable],
        capture_output=True, text=True, timeout=60, check=False, env={**os.environ, "PYTHONPATH": str(AGENT)},
    )  # fmt: skip
    assert "ok    rights " in done.stdout, done.stdout + done.stderr


def test_files_in_a_sticky_directory_are_safe(directory: Path) -> None:
    directory.chmod(0o1777)
    assert told(directory).startswith("ok ")
