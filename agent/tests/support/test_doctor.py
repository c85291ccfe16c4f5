# SPDX-License-Identifier: Apache-2.0
"""`falco-py doctor` as it is typed: one screen, an exit code, and checks that take nothing from one another."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest

from falco_py.support.doctor import CHECKS, WIDTH, Report, examine
from falco_py.support.finding import Check, Question, cannot, fine, warn, wrong
from tests.support.findings import AGENT, RULE, falco_py

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from falco_py.support.finding import Finding

WITHOUT_CAPABILITIES = ("setpriv", "--bounding-set=-all", "--inh-caps=-all")


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    path = tmp_path / "rules.yaml"
    path.write_text(RULE)
    return path


def marks(text: str) -> dict[str, str]:
    """The mark of each check, the worst where there are several."""
    made: dict[str, str] = {}
    for line in text.splitlines()[1:-1]:
        mark, name = line[:6].strip(), line[6:23].strip()
        if mark and (name not in made or made[name] == "ok"):
            made[name] = mark
    return made


@pytest.mark.live
def test_a_machine_that_can_is_told_on_one_screen(rules: Path) -> None:
    done = falco_py("doctor", "-r", rules)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert 20 <= len(lines) <= 45
    assert max(map(len, lines)) <= WIDTH
    found = marks(done.stdout)
    assert {found[name] for name in ("kernel", "capabilities", "bpf(2)", "hooks", "test event", "rules")} == {"ok"}
    assert {"stdout_output", "web server", "log"} <= found.keys()
    assert "a program's start was told after " in done.stdout
    assert lines[-1].endswith(" 0 wrong. The agent can run here.")


@pytest.mark.skipif(os.geteuid() != 0, reason="capabilities are given up, so they must be there at first")
def test_a_machine_that_cannot_is_code_2_and_the_other_checks_go_on(rules: Path) -> None:
    done = falco_py("doctor", "-r", rules, before=WITHOUT_CAPABILITIES)
    assert (done.returncode, done.stderr) == (2, "")
    found = marks(done.stdout)
    assert {found[name] for name in ("capabilities", "bpf(2)", "hooks")} == {"FAIL"}
    assert (found["kernel"], found["rules"]) == ("ok", "ok")
    assert "root without CAP_BPF and CAP_PERFMON, and its bounding set keeps it from getting them" in " ".join(
        done.stdout.split()
    )
    assert "-> run it as root (sudo), or give it CAP_BPF and CAP_PERFMON" in done.stdout
    assert "not tried, because of: capabilities" in done.stdout


ANOTHER_USER = """\
import os
from falco_py.support import doctor, machine, surroundings
from falco_py.support.finding import Question
os.setgroups([])
os.setresgid(65534, 65534, 65534)
os.setresuid(65534, 65534, 65534)  # the modules are there already: their directory may be root's alone
checks = [one for one in doctor.CHECKS if one.name in ("capabilities", "/proc")]
print(" ".join(doctor.examine(Question(None), checks).text().split()))
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="another user is taken on")
def test_another_user_sees_less_of_proc() -> None:
    told = subprocess.run(
        [sys.executable, "-c", ANOTHER_USER], env={**os.environ, "PYTHONPATH": str(AGENT)}, timeout=60, text=True,
        check=True, stdout=subprocess.PIPE,
    ).stdout  # fmt: skip
    assert "FAIL capabilities user 65534 without CAP_BPF and CAP_PERFMON -> " in told
    assert "warn capabilities without CAP_SYS_PTRACE, CAP_DAC_READ_SEARCH: " in told
    assert "warn /proc /proc: the facts of " in told


def test_broken_rules_are_code_1(tmp_path: Path) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text(RULE.replace("proc.name", "proc.nam"))
    done = falco_py("doctor", "-r", path, "--json", before=WITHOUT_CAPABILITIES if os.geteuid() == 0 else ())
    (found,) = [one for one in json.loads(done.stdout)["checks"] if one["check"] == "rules"]
    assert found["mark"] == "FAIL"
    assert found["fact"].startswith(f"1 error\n{path}:3:")
    assert found["remedy"] == f"`falco-py -V {path}` shows each with its place"


def test_a_broken_configuration_is_told_and_its_outputs_are_not_tried(tmp_path: Path, rules: Path) -> None:
    config = tmp_path / "falco.yaml"
    config.write_text("json_output: maybe\nlog_level: info\n")
    made = json.loads(falco_py("doctor", "-c", config, "-r", rules, "--json").stdout)
    by_name = {one["check"]: one for one in made["checks"]}
    assert made["exit_code"] == 1
    assert f'{config}:1:14: json_output: expected true or false, found "maybe"' in by_name["configuration"]["fact"]
    assert by_name["rules"]["mark"] == "ok"
    assert by_name["outputs"]["mark"] == "warn"
    assert "stdout_output" not in by_name


def test_the_worst_finding_is_the_exit_code() -> None:
    good, bad, worst = fine("a", "x"), wrong("a", "x", "y"), cannot("a", "x", "y")
    codes = [Report(findings).exit_code for findings in ((), (good, warn("a", "x", "y")), (good, bad), (worst, bad))]
    assert codes == [0, 0, 1, 2]


def test_a_check_that_fails_is_told_with_its_type_and_the_others_go_on() -> None:
    def half(_question: Question) -> Iterator[Finding]:
        yield fine("half", "found before")
        raise ZeroDivisionError("by \x1b nothing")

    report = examine(Question(None), (Check("half", half), Check("after", lambda _: [fine("after", "still there")])))
    assert [(one.check, one.mark.value) for one in report.findings] == [
        ("half", "ok"),
        ("half", "warn"),
        ("after", "ok"),
    ]
    assert "the check failed: ZeroDivisionError: by \\x1b nothing" in report.text()
    assert report.exit_code == 0


def test_a_check_that_hangs_is_left_alone() -> None:
    freed = threading.Event()

    def hangs(_question: Question) -> Iterator[Finding]:
        freed.wait(60)
        yield fine("hangs", "too late")

    began = time.monotonic()
    report = examine(Question(None), (Check("hangs", hangs, 0.05), Check("after", lambda _: [fine("after", "x")])))
    freed.set()
    assert time.monotonic() - began < 30
    assert [one.fact for one in report.findings] == ["no answer within 0.05 s", "x"]


def test_long_facts_are_wrapped_under_their_check() -> None:
    text = Report((warn("name", "word " * 40 + "\nsecond line", "do " * 60),)).text()
    lines = text.splitlines()[1:-1]
    assert max(map(len, lines)) <= WIDTH
    assert lines[0].startswith("warn  name             word")
    assert {line[:23] for line in lines[1:]} == {" " * 23}
    assert sum("-> " in line for line in lines) == 1


def test_no_two_checks_bear_the_same_name() -> None:
    names = [one.name for one in CHECKS]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("word", ["-x", "more"])
def test_what_doctor_does_not_take_is_refused(word: str) -> None:
    done = falco_py("doctor", word)
    assert (done.returncode, done.stdout) == (1, "")
    assert "falco-py doctor --help shows the options" in done.stderr
