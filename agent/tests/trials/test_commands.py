# SPDX-License-Identifier: Apache-2.0
"""`falco-py explain`, `test` and `record` as they are typed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from falco_py.web.status import Status
from tests.trials.rulesfile import RULES
from tests.trials.test_ranking import TABLE, TOLD

AGENT = Path(__file__).parents[2]
ALERT = {"rule": "any read", "output_fields": {"evt.type": "openat", "fd.name": "/etc/x"}}
TESTS = """\
rules_files: [rules.yaml]
defaults: {evt.type: openat, evt.arg.flags: O_RDONLY, proc.name: cat}
tests:
  - {name: secret, event: {fd.name: /etc/secret}, expect: read secret}
  - {name: other, event: {fd.name: /etc/x}, expect: any read}
"""


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "rules.yaml").write_text(RULES)
    (tmp_path / "tests.yaml").write_text(TESTS)
    return tmp_path


def falco_py(directory: Path, *words: str, text: str = "") -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(AGENT)}
    command = [sys.executable, "-m", "falco_py", *words]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=60, cwd=directory, env=environment, input=text, check=False
    )


def refused(directory: Path, *words: str, text: str = "") -> str:
    done = falco_py(directory, *words, text=text)
    assert (done.returncode, done.stdout) == (1, "")
    assert "Traceback" not in done.stderr
    return done.stderr


def test_a_rule_is_explained(directory: Path) -> None:
    done = falco_py(directory, "explain", "any read", "-r", "rules.yaml")
    assert done.returncode == 0
    assert "    fd.name startswith /etc/\n" in done.stdout


def test_an_event_from_standard_input_is_explained(directory: Path) -> None:
    event = "evt.type: openat\nfd.name: /etc/x\nevt.arg.flags: O_WRONLY\n"
    done = falco_py(directory, "explain", "any read", "-r", "rules.yaml", "--event", "-", text=event)
    assert "Event <stdin>:1 (openat): the rule does not match: evt.is_open_read = true is false" in done.stdout


def test_alerts_are_explained_by_their_own_rules(directory: Path) -> None:
    done = falco_py(directory, "explain", "-r", "rules.yaml", "--event", "-", text=json.dumps(ALERT))
    assert done.stdout.startswith("Rule: any read\n")
    assert "the rule matched, as the alert says" in done.stdout


def test_the_type_of_an_event_can_be_given_beside_it(directory: Path) -> None:
    words = ("explain", "any read", "-r", "rules.yaml", "--event", "-")
    assert "(connect)" in falco_py(directory, *words, "--type", "connect", text="proc.name: x").stdout
    assert "unknown event type opne; did you mean 'open'?" in refused(directory, *words, "--type", "opne", text="a: b")


def test_what_is_not_said_counts_as_missing_when_asked(directory: Path) -> None:
    words = ("explain", "read secret", "-r", "rules.yaml", "--event", "-")
    event = "evt.type: openat\nfd.name: /etc/secret\n"
    assert "it cannot be told" in falco_py(directory, *words, text=event).stdout
    assert "the rule does not match" in falco_py(directory, *words, "--complete", text=event).stdout


def test_an_explanation_as_json(directory: Path) -> None:
    done = falco_py(directory, "explain", "any read", "-r", "rules.yaml", "-o", "json_output=true")
    assert json.loads(done.stdout)["rule"] == "any read"


def test_the_python_is_shown(directory: Path) -> None:
    assert "def match(e):" in falco_py(directory, "explain", "--python", "-r", "rules.yaml").stdout
    assert "there is no rule" in refused(directory, "explain", "x", "--python", "-r", "rules.yaml")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("explain", "-r", "rules.yaml"), "explain needs the name of a rule"),
        (("explain", "any rea", "-r", "rules.yaml"), "there is no rule \"any rea\"; did you mean 'any read'?"),
        (("explain", "any read", "x", "-r", "rules.yaml"), "'x' is one word too many"),
        (("explain", "any read", "--evnt", "x"), "Option '--evnt' does not exist; did you mean '--event'?"),
        (("explain", "any read", "-r", "rules.yaml", "--event", "none"), "none: cannot be read: No such file"),
        (("explain", "any read", "-r", "rules.yaml", "--type", "open"), "give it with --event"),
        (("explain", "any read", "-r", "none.yaml"), "Could not open file none.yaml for reading"),
        (("explain", "any read", "--socket", "s.sock"), "give --cost, too"),
        (("explain", "any read", "--cost"), "--cost ranks the rules of a running agent"),
        (("test",), "test needs a file of tests"),
        (("test", "none.yaml"), "none.yaml: cannot be read: No such file"),
        (("record", "-n", "0", "-r", "rules.yaml"), "Option '-n' takes a number from 1, not '0'"),
        (("record", "--type", "opne", "-r", "rules.yaml"), "unknown event type opne; did you mean 'open'?"),
        (("record", "--rule", "any rea", "-r", "rules.yaml"), 'there is no rule "any rea"'),
        (("record", "--rule", "switched off", "-r", "rules.yaml"), 'rule "switched off" is disabled'),
        (("record", "-w", "no/such/dir", "-r", "rules.yaml"), "no/such/dir: cannot be written"),
        (("record", "-w", "rules.yaml", "-r", "rules.yaml"), "rules.yaml: cannot be written: File exists"),
    ],
)
def test_mistakes_are_told(directory: Path, words: tuple[str, ...], message: str) -> None:
    told = refused(directory, *words) if words[0] != "test" or len(words) == 1 else falco_py(directory, *words).stderr
    assert message in told


def test_broken_rules_are_told_as_always(directory: Path) -> None:
    (directory / "rules.yaml").write_text(RULES.replace("fd.num", "fd.nun"))
    told = refused(directory, "explain", "any read", "-r", "rules.yaml")
    assert "rules.yaml:4:" in told
    assert "did you mean 'fd.num'?" in told


def test_costs_are_asked_of_a_running_agent(directory: Path) -> None:
    with Status(str(directory / "s.sock"), lambda: TOLD):
        done = falco_py(directory, "explain", "--cost", "--socket", "s.sock")
        assert (done.returncode, done.stdout) == (0, TABLE + "\n")
        done = falco_py(directory, "explain", "--cost", "--socket", "s.sock", "-o", "json_output=true")
        assert json.loads(done.stdout) == TOLD


def test_without_an_agent_it_is_told_what_to_do(directory: Path) -> None:
    told = refused(directory, "explain", "--cost", "--socket", "s.sock")
    assert told.startswith(
        "Error: no agent answers on s.sock: No such file or directory\n  What to do: start the agent"
    )


@pytest.mark.parametrize("command", ["explain", "test", "record"])
def test_each_command_has_help(directory: Path, command: str) -> None:
    done = falco_py(directory, command, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"usage: falco-py {command}")
    assert f"falco-py {command} ..." in falco_py(directory, "--help").stdout


def test_tests_pass(directory: Path) -> None:
    done = falco_py(directory, "test", "tests.yaml")
    assert (done.returncode, done.stdout) == (0, "ok      secret\nok      other\n2 passed, 0 failed\n")


def test_a_test_that_fails_ends_with_an_error(directory: Path) -> None:
    (directory / "tests.yaml").write_text(TESTS.replace("expect: any read", "expect: none"))
    done = falco_py(directory, "test", "tests.yaml")
    assert done.returncode == 1
    assert "FAILED  other (tests.yaml:5)" in done.stdout
    assert done.stdout.endswith("1 passed, 1 failed\n")


def test_a_file_that_cannot_be_run_is_told_and_the_others_are(directory: Path) -> None:
    (directory / "bad.yaml").write_text("tests: [a]\n")
    done = falco_py(directory, "test", "bad.yaml", "tests.yaml")
    assert done.returncode == 1
    assert done.stdout.endswith("2 passed, 0 failed, 1 not run\n")
    assert done.stderr.startswith("Error: bad.yaml:1:9: a test is a mapping")


def test_rules_of_the_command_line_replace_those_of_the_file(directory: Path) -> None:
    (directory / "other.yaml").write_text(RULES.replace("/etc/secret", "/etc/other"))
    assert falco_py(directory, "test", "tests.yaml", "-r", "other.yaml").returncode == 1


def test_rules_that_a_file_names_and_that_are_not_there(directory: Path) -> None:
    (directory / "tests.yaml").write_text(TESTS.replace("rules.yaml", "none.yaml"))
    done = falco_py(directory, "test", "tests.yaml")
    assert done.returncode == 1
    assert done.stderr.startswith("Error: tests.yaml:1:15: Could not open file none.yaml for reading")


def test_coverage_and_results_as_json(directory: Path) -> None:
    assert "Coverage: 2 of 2 rules fired" in falco_py(directory, "test", "tests.yaml", "--coverage").stdout
    done = falco_py(directory, "test", "tests.yaml", "--coverage", "-o", "json_output=true")
    made = json.loads(done.stdout)
    assert (made["passed"], made["failed"], len(made["tests"])) == (2, 0, 2)
    assert made["coverage"][0]["rules"]["any read"]["fired"] == 1
