# SPDX-License-Identifier: Apache-2.0
"""What is read at the start and at a reload, and what of it may be broken."""

from __future__ import annotations

import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from falco_py.background import Background
from falco_py.config.model import Config, Metrics
from falco_py.engine.overlay import Overlay
from falco_py.prepared import Input, InputError, Prepared, RulesFileError, prepare
from falco_py.rules.problems import RulesError

if TYPE_CHECKING:
    from pathlib import Path


def rule(name: str, condition: str = "evt.type = openat") -> str:
    return f"- rule: {name}\n  desc: d\n  condition: {condition}\n  output: o\n  priority: INFO\n"


BROKEN = rule("broken", "evt.tpye = openat")


def prepared(
    *files: Path, overlay: Overlay | None = None, skip_broken: bool = False, metrics: bool = False
) -> Prepared:
    names = tuple(map(str, files))
    read = Input(Config(metrics=Metrics() if metrics else None), names, names, rules_paths=names).under(overlay)
    with closing(Background()) as background:
        return prepare(read, {}, background, skip_broken=skip_broken)


def test_rules_are_named_by_a_digest_that_is_the_same_for_the_same_texts(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(rule("one"))
    first = prepared(file)
    file.write_text(rule("two"))
    second = prepared(file)
    overlay = Overlay(str(tmp_path), {"a.yaml": rule("one")})
    again = prepared(file, overlay=overlay)
    assert first.rules_digest == again.rules_digest != second.rules_digest
    assert first.seen == again.seen != second.seen


def test_the_sums_of_files_are_those_of_what_is_in_use(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(rule("one"))
    first = prepared(file, metrics=True)
    file.write_text(rule("two"))
    again = prepared(file, metrics=True, overlay=Overlay(str(tmp_path), {"a.yaml": rule("one")}))
    assert first.digests == again.digests != prepared(file, metrics=True).digests


def test_mistakes_in_what_the_api_server_has_name_the_file_where_it_is_mounted(tmp_path: Path) -> None:
    with pytest.raises(RulesError, match=f"{tmp_path}/a.yaml:3:14: error"):
        prepared(tmp_path / "a.yaml", overlay=Overlay(str(tmp_path), {"a.yaml": BROKEN}))


def test_a_configmap_without_rules_is_refused_when_there_are_no_others(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"none for {tmp_path} in the ConfigMap"):
        prepared(tmp_path, overlay=Overlay(str(tmp_path), {}))


def test_a_broken_file_ends_it_unless_it_is_to_be_left_out(tmp_path: Path) -> None:
    good, broken = tmp_path / "a.yaml", tmp_path / "b.yaml"
    good.write_text(rule("good"))
    broken.write_text(BROKEN)
    with pytest.raises(RulesError):
        prepared(good, broken)
    made = prepared(good, broken, skip_broken=True)
    assert [one.name for one in made.bundle.rules] == ["good"]
    assert [one.file for one in made.left_out] == [str(broken)]
    assert made.input.rules_files == [str(good)]
    assert made.input.watched == (str(good), str(broken))
    assert made.rules_digest == prepared(good).rules_digest


def test_a_file_that_cannot_be_read_is_left_out_as_well(tmp_path: Path) -> None:
    good, missing = tmp_path / "a.yaml", tmp_path / "b.yaml"
    good.write_text(rule("good"))
    made = prepared(missing, good, skip_broken=True)
    assert [one.mistake.line() for one in made.left_out] == [f"{missing}: cannot be read: No such file or directory"]
    with pytest.raises(RulesFileError):
        prepared(missing, skip_broken=True)


def test_nothing_is_left_out_of_what_is_good(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(rule("good"))
    assert prepared(file, skip_broken=True).left_out == ()


def test_an_agent_without_kubernetes_does_not_import_what_asks_it() -> None:
    code = (
        "import sys, falco_py.app, falco_py.running, falco_py.ruleset\n"
        "falco_py.ruleset.digest([('a', 'b')])\n"
        "costly = ('aiohttp', 'kubernetes', 'falco_py.kube', 'asyncio', '_hashlib', 'ssl')\n"
        "print([one for one in sys.modules if one.startswith(costly)])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "[]\n"
