# SPDX-License-Identifier: Apache-2.0
"""The manual page renders and names what there is; the completion completes in a real bash."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from falco_py import commands, options
from pages import manual

SOURCES = Path(options.__file__).parent


@pytest.fixture(scope="module")
def page() -> str:
    """As it is read, without marks for bold and underlined."""
    if shutil.which("groff") is None:
        pytest.skip("groff is not installed")
    done = subprocess.run(
        ["groff", "-ww", "-man", "-Tutf8", "-P-c", str(manual.MANUAL)], capture_output=True, text=True, timeout=60,
        check=True,
    )  # fmt: skip
    assert done.stderr == ""
    return re.sub(".\b", "", done.stdout).replace("‐", "-").replace("−", "-")


def test_it_renders_without_a_warning(page: str) -> None:
    assert page.startswith("FALCO-PY(8)")


def test_every_option_of_every_command_is_named(page: str) -> None:
    for parser in (options.falco_parser(), *map(commands.parser, options.COMMANDS)):
        for action in parser._actions:
            for name in action.option_strings:
                assert re.search(rf"^ +(?:\S+, )?{re.escape(name)}\b", page, re.MULTILINE), name


def test_every_variable_that_the_code_reads_is_named(page: str) -> None:
    read = set().union(*(manual.variables_read(path.read_text()) for path in SOURCES.rglob("*.py")))
    assert read >= {"HOST_ROOT", "FALCO_HOSTNAME", "NOTIFY_SOCKET"}
    section = page[page.index("\nENVIRONMENT") :]
    assert [name for name in sorted(read) if name not in section] == []


def test_files_signals_and_exit_codes_are_named(page: str) -> None:
    for word in ("/etc/falco/falco.yaml", "/etc/falco/falco_rules.yaml", "/etc/falco/falco_rules.local.yaml",
                 "/etc/falco/rules.d", "/run/falco.pid", "/var/lib/falco", "SIGHUP", "SIGUSR1", "SIGINT, SIGTERM",
                 "EXIT STATUS"):  # fmt: skip
        assert word in page


SCRIPT = """\
source "$1"; shift
complete -p falco-py > /dev/null || exit 1
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
_falco_py
printf '%s\\n' "${COMPREPLY[@]}"
"""


def completed(*words: str, cwd: Path | None = None) -> list[str]:
    done = subprocess.run(
        ["bash", "--norc", "-c", SCRIPT, "bash", str(manual.BASH), "falco-py", *words], capture_output=True, text=True,
        timeout=30, check=True, cwd=cwd,
    )  # fmt: skip
    assert done.stderr == ""
    return [line for line in done.stdout.splitlines() if line]


def test_the_first_word_is_a_command_or_an_option() -> None:
    assert completed("") == list(options.COMMANDS)
    assert completed("do") == ["doctor"]
    assert completed("--dr") == ["--dry-run"]
    assert "--support" in completed("--")


def test_options_are_those_of_the_command() -> None:
    assert completed("doctor", "--j") == ["--json"]
    assert completed("record", "--") == ["--help", "--rule", "--type", "--firing"]
    assert completed("test", "--cov") == ["--coverage"]
    assert completed("-v", "doctor", "--j") == []


def test_values_are_completed_by_their_kind(tmp_path: Path) -> None:
    (tmp_path / "my rules.yaml").touch()
    (tmp_path / "mine").mkdir()
    for words in (("-r", "m"), ("-V", "m"), ("doctor", "-c", "m"), ("explain", "--event", "m"), ("test", "m")):
        assert sorted(completed(*words, cwd=tmp_path)) == ["mine", "my rules.yaml"]
    assert completed("--format", "m") == ["markdown"]
    assert completed("-o", "json_o") == ["json_output="]
    assert completed("doctor", "-o", "http_output.ur") == ["http_output.url="]
    assert completed("-o", "json_output", "=", "t") == []
    assert completed("--enable-source", "") == ["syscall"]
    assert completed("-M", "") == []
