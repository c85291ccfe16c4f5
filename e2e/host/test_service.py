# SPDX-License-Identifier: Apache-2.0
"""The life of the package on a machine that systemd booted, from `apt install` to `apt purge`, in this order."""

from __future__ import annotations

import re
import secrets
import subprocess
from typing import TYPE_CHECKING

import pytest
from e2e.host.container import COMMAND_S, LINE_S, Machine, changes, until

from tests.live.runc_container import Container

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from e2e.host.container import Journal, Line

SENSITIVE = "Sensitive file opened for reading by non-trusted program"
LOCAL = "/etc/falco/falco_rules.local.yaml"
RULES = "/etc/falco/falco_rules.yaml"
PROGRAM_FILE = "/var/log/falco/program.txt"
ALERTS_FILE = "/var/log/falco/events.txt"
WARNING, ERROR, NOTICE = 4, 3, 5
LATER = "9.0"
CAPABILITIES = {"cap_dac_read_search": 2, "cap_sys_ptrace": 19, "cap_perfmon": 38, "cap_bpf": 39}


def own_rule(name: str, mark: str) -> str:
    """A rule that fires on `true MARK WORD`: a program of the image, about which the default rules say nothing."""
    return (
        f"- rule: {name}\n  desc: A program of the tests.\n"
        f"  condition: evt.type in (execve, execveat) and proc.name = true and proc.args contains {mark}\n"
        f'  output: "{name} fired | command=%proc.cmdline"\n  priority: NOTICE\n'
    )


@pytest.fixture
def mark() -> str:
    """A word that no other process of the machine says."""
    return f"fpy{secrets.token_hex(6)}"


@pytest.fixture(scope="module")
def before(machine: Machine) -> dict[str, str]:
    """The files before the installation."""
    return machine.files()


@pytest.fixture(scope="module")
def said(machine: Machine, package: Path, before: dict[str, str]) -> str:
    """What apt said when it installed the package, without network and without questions."""
    assert before
    done = machine.run("apt-get", "install", "--yes", f"/dist/{package.name}")
    return done.stdout + done.stderr


@pytest.fixture
def service(machine: Machine, said: str) -> Machine:
    """The machine, the service installed and active."""
    assert "Setting up falco-py" in said
    until(lambda: state(machine) == "active", LINE_S, lambda: f"{state(machine)}:\n{machine.journal().tail()}")
    return machine


class Edited:
    """Files that a test saves, and that are as before when it has ended."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._before: dict[str, str] = {}

    def save(self, path: str, text: str) -> None:
        """Saves a file and waits until the agent has read it."""
        self.keep(path)
        now = self._machine.journal().mark()
        self._machine.write(path, text)
        self._machine.journal().expect("Reloaded", after=now)

    def keep(self, path: str) -> None:
        """Remembers what the file is now."""
        self._before.setdefault(path, self._machine.run("cat", path, check=False).stdout)

    def restore(self) -> None:
        """Puts everything back and waits until the agent has read it."""
        for path, text in self._before.items():
            if text:
                self._machine.write(path, text)
            else:
                self._machine.run("rm", "-f", path)
        now = self._machine.journal().mark()
        self._machine.run("systemctl", "reload", "falco")
        self._machine.journal().expect("SIGHUP received", after=now)
        self._machine.journal().expect("Reloaded", after=now)


@pytest.fixture
def edited(service: Machine) -> Iterator[Edited]:
    files = Edited(service)
    files.keep(LOCAL)
    yield files
    files.restore()


@pytest.fixture
def journal(service: Machine) -> Journal:
    return service.journal()


@pytest.fixture
def package_of_later(package: Path, tmp_path: Path) -> Iterator[Path]:
    """The same package under a higher version and with another rule at the end of its default rules."""
    tree = tmp_path / "tree"
    made = package.with_name(f"later-{package.name}")
    subprocess.run(["dpkg-deb", "--raw-extract", str(package), str(tree)], check=True, timeout=COMMAND_S)
    control = tree / "DEBIAN/control"
    control.write_text(re.sub(r"(?m)^Version: .*$", f"Version: {LATER}", control.read_text()))
    for rules in ("etc/falco/falco_rules.yaml", "usr/share/falco-py/falco_rules.yaml"):
        with (tree / rules).open("a") as end:
            end.write(own_rule("Rule of the later version", "later-program"))
    command = ["dpkg-deb", "--root-owner-group", "-Znone", "--build", str(tree), str(made)]
    subprocess.run(command, check=True, capture_output=True, timeout=COMMAND_S)
    yield made
    made.unlink()


def state(machine: Machine) -> str:
    return machine.run("systemctl", "is-active", "falco", check=False).stdout.strip()


def main_pid(machine: Machine) -> int:
    return int(machine.run("systemctl", "show", "--property=MainPID", "--value", "falco").stdout)


def read_shadow(machine: Machine, mark: str) -> None:
    """`cat` opens the password hashes; the second file is not there."""
    machine.run("cat", "/etc/shadow", f"/{mark}", check=False)


def fires(machine: Machine, name: str, mark: str, word: str) -> Line:
    """The alert of an own rule: the rule's program is started until it is there."""

    def look() -> Line | None:
        machine.run("true", mark, word)
        return next(iter(machine.journal().find(f"{name} fired", f"{mark} {word}")), None)

    return until(look, LINE_S, lambda: f"{name!r} does not fire:\n{machine.journal().tail()}")


# Installed


def test_apt_installs_it_without_a_compiler_and_starts_it(service: Machine) -> None:
    shown = service.run("systemctl", "status", "--no-pager", "falco").stdout
    assert "Active: active (running)" in shown
    assert re.search(r"Status: \"\d+ rules", shown)
    assert service.run("systemctl", "is-enabled", "falco").stdout.strip() == "enabled"
    assert service.run("sh", "-c", "command -v cc gcc clang make", check=False).stdout == ""


def test_the_service_has_a_second_name(service: Machine) -> None:
    assert service.run("systemctl", "show", "--property=Id", "--value", "falco-py").stdout.strip() == "falco.service"


def test_ready_comes_when_events_are_captured(journal: Journal) -> None:
    started = journal.expect("Started falco.service")
    captured = journal.expect("Capture started")
    assert journal.lines.index(captured) < journal.lines.index(started)


def test_it_holds_four_capabilities_and_can_get_no_more(service: Machine) -> None:
    status = service.shell('cat "/proc/$1/status"', str(main_pid(service)))
    values = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    allowed = sum(1 << bit for bit in CAPABILITIES.values())
    assert {name: int(values[name], 16) for name in ("CapEff", "CapPrm", "CapBnd")} == dict.fromkeys(
        ("CapEff", "CapPrm", "CapBnd"), allowed
    )
    assert (values["NoNewPrivs"].strip(), values["Seccomp"].strip()) == ("1", "2")


def test_systemd_rates_its_exposure_low(service: Machine) -> None:
    shown = service.run("systemd-analyze", "security", "--no-pager", "falco.service").stdout
    rating = re.search(r"Overall exposure level for falco.service: ([\d.]+)", shown)
    assert rating
    assert float(rating[1]) <= 2.5, shown


# Alerts


def test_reading_the_password_hashes_is_one_line_of_the_journal_with_its_severity(
    service: Machine, journal: Journal, mark: str
) -> None:
    read_shadow(service, mark)
    alert = journal.expect(SENSITIVE, mark)
    assert alert.priority == WARNING
    assert "file=/etc/shadow" in alert.text
    read_shadow(service, f"{mark}-2")
    journal.expect(SENSITIVE, f"{mark}-2")
    assert len(journal.find(SENSITIVE, f"/{mark} ")) == 1
    assert mark in service.run("journalctl", "--unit=falco", "--priority=warning", "--no-pager").stdout
    assert mark not in service.run("journalctl", "--unit=falco", "--priority=err", "--no-pager").stdout


def test_a_shell_in_a_container_is_reported(journal: Journal, tmp_path: Path, mark: str) -> None:
    container = Container(tmp_path)
    try:
        container.start().exec_terminal("sh", "-c", f"echo {mark}")
        alert = journal.expect("A shell was spawned in a container with an attached terminal", mark)
    finally:
        container.stop()
    assert alert.priority == NOTICE
    assert f"container_id={container.id}" in alert.text


def test_each_line_of_the_log_comes_once(journal: Journal) -> None:
    assert len(journal.find("Capture started")) == 1


def test_the_agent_tells_what_rules_cost(service: Machine) -> None:
    assert "Read sensitive file untrusted" in service.run("falco-py", "explain", "--cost").stdout


def test_a_program_gets_alerts_within_the_walls_of_the_service(service: Machine, edited: Edited, mark: str) -> None:
    command = f"cat >>{PROGRAM_FILE}"
    settings = f"program_output:\n  enabled: true\n  keep_alive: false\n  program: {command}\n"
    edited.save("/etc/falco/config.d/program.yaml", settings)
    read_shadow_until_told(service, PROGRAM_FILE, mark)


def test_its_health_is_answered(service: Machine) -> None:
    code = "import urllib.request; print(urllib.request.urlopen('http://127.0.0.1:8765/healthz', timeout=5).status)"
    assert service.run("/usr/lib/falco-py/bin/python3", "-c", code).stdout.strip() == "200"


# Reload


def test_kill_1_loads_an_edited_file(service: Machine, journal: Journal, edited: Edited, mark: str) -> None:
    edited.save("/etc/falco/config.d/quiet.yaml", "watch_config_files: false\n")
    now = journal.mark()
    service.write(LOCAL, own_rule("Rule of kill", mark))
    service.shell("kill -1 $(cat /var/run/falco.pid)")
    journal.expect("SIGHUP received", after=now)
    journal.expect("Reloaded", after=now)
    assert fires(service, "Rule of kill", mark, "kill").priority == NOTICE


def test_systemctl_reload_loads_an_edited_file(service: Machine, journal: Journal, edited: Edited, mark: str) -> None:
    edited.save("/etc/falco/config.d/quiet.yaml", "watch_config_files: false\n")
    now = journal.mark()
    service.write(LOCAL, own_rule("Rule of reload", mark))
    service.run("systemctl", "reload", "falco")
    journal.expect("Reloaded", after=now)
    fires(service, "Rule of reload", mark, "reload")


def test_a_file_is_read_when_it_is_saved(service: Machine, journal: Journal, edited: Edited, mark: str) -> None:
    edited.save(LOCAL, own_rule("Rule of save", mark))
    assert journal.find("a file changed")
    fires(service, "Rule of save", mark, "save")


def test_a_broken_edit_changes_nothing_and_is_told_with_its_place(
    service: Machine, journal: Journal, edited: Edited, mark: str
) -> None:
    good = own_rule("Good rule", mark)
    edited.save(LOCAL, good)
    fires(service, "Good rule", mark, "before")
    now = journal.mark()
    service.write(LOCAL, good + own_rule("Bad rule", mark).replace("proc.name", "proc.nmae"))
    told = journal.expect("error in rule 'Bad rule'", after=now)
    assert re.search(rf"{re.escape(LOCAL)}:8:\d+: ", told.text)
    assert told.priority == ERROR
    journal.expect("did you mean 'proc.name'?", after=now)
    journal.expect("Not reloaded", after=now)
    service.run("true", mark, "still")
    journal.expect("Good rule fired", f"{mark} still")
    assert state(service) == "active"


# Files of alerts


def test_logrotate_moves_the_file_and_the_next_alert_begins_a_new_one(
    service: Machine, journal: Journal, edited: Edited, mark: str
) -> None:
    settings = f"file_output:\n  enabled: true\n  keep_alive: true\n  filename: {ALERTS_FILE}\n"
    edited.save("/etc/falco/config.d/file.yaml", settings)
    now = journal.mark()
    read_shadow_until_told(service, ALERTS_FILE, f"{mark}-old")
    service.run("logrotate", "--force", "/etc/logrotate.d/falco-py")
    journal.expect("SIGUSR1 received", after=now)
    read_shadow_until_told(service, ALERTS_FILE, f"{mark}-new")
    assert f"{mark}-old" not in service.run("cat", ALERTS_FILE).stdout
    assert f"{mark}-old" in service.run("cat", f"{ALERTS_FILE}.1").stdout


def read_shadow_until_told(machine: Machine, path: str, mark: str) -> None:
    def look() -> bool:
        read_shadow(machine, mark)
        return mark in machine.run("cat", path, check=False).stdout

    until(look, LINE_S, lambda: f"{path} does not say {mark}")


# Ends


def test_a_killed_agent_is_started_again(service: Machine, journal: Journal, mark: str) -> None:
    now, first = journal.mark(), main_pid(service)
    service.run("kill", "-9", str(first))
    journal.expect("Started falco.service", after=now)
    assert main_pid(service) not in (0, first)
    read_shadow(service, mark)
    journal.expect(SENSITIVE, mark, after=now)


def test_an_agent_that_hangs_is_started_again(service: Machine, journal: Journal, mark: str) -> None:
    """The manager hears nothing from the loop that reads the kernel's events."""
    drop_in = "/run/systemd/system/falco.service.d/watchdog.conf"
    service.run("mkdir", "-p", drop_in.rpartition("/")[0])
    service.write(drop_in, "[Service]\nWatchdogSec=3\n")
    service.shell("systemctl daemon-reload; systemctl restart falco")
    try:
        now, first = journal.mark(), main_pid(service)
        service.run("kill", "-STOP", str(first))
        journal.expect("Watchdog timeout", after=now)
        until(lambda: main_pid(service) not in (0, first), 2 * LINE_S, journal.tail)
        until(lambda: state(service) == "active", LINE_S, journal.tail)
        read_shadow(service, mark)
        journal.expect(SENSITIVE, mark, after=now)
    finally:
        service.shell('rm "$1"; rmdir "$(dirname "$1")"; systemctl daemon-reload; systemctl restart falco', drop_in)


def test_stop_delivers_what_happened_before_it(service: Machine, journal: Journal, mark: str) -> None:
    count = 300
    service.shell(
        f"i=0; while [ $i -lt {count} ]; do cat /etc/shadow /{mark}-$i. >/dev/null 2>&1 || true; i=$((i+1)); done; "
        "systemctl stop falco"
    )
    assert state(service) == "inactive"
    shown = service.run("systemctl", "show", "--property=Result,ExecMainStatus", "falco").stdout
    assert sorted(shown.split()) == ["ExecMainStatus=0", "Result=success"]
    until(lambda: len(journal.find(SENSITIVE, mark)) >= count, LINE_S, lambda: str(len(journal.find(SENSITIVE, mark))))
    assert {
        match[1] for line in journal.find(SENSITIVE, mark) if (match := re.search(rf"{mark}-(\d+)\.", line.text))
    } == {str(number) for number in range(count)}
    assert service.run("ls", "/run/falco.pid", "/run/falco", check=False).stdout == ""
    service.run("systemctl", "start", "falco")


# Upgrade and removal


def test_an_upgrade_keeps_edited_files_without_questions_and_brings_the_new_rules(
    service: Machine, journal: Journal, package_of_later: Path, mark: str
) -> None:
    for path in ("/etc/falco/falco.yaml", LOCAL, "/etc/logrotate.d/falco-py"):
        service.shell(f'echo "# {mark}" >>"$1"', path)
    service.write("/etc/falco/rules.d/mine.yaml", f"# {mark}\n")
    service.shell(f'echo "# {mark}" >>"$1"', RULES)
    first, now = main_pid(service), journal.mark()
    done = service.run("apt-get", "install", "--yes", f"/dist/{package_of_later.name}")
    assert f"{RULES} was edited" in done.stdout + done.stderr
    for path in (
        "/etc/falco/falco.yaml",
        LOCAL,
        "/etc/logrotate.d/falco-py",
        "/etc/falco/rules.d/mine.yaml",
        f"{RULES}.dpkg-old",
    ):
        assert mark in service.run("cat", path).stdout, path
    rules = service.run("cat", RULES).stdout
    assert "Rule of the later version" in rules
    assert mark not in rules
    journal.expect("Stopped falco.service", after=now)
    journal.expect("Started falco.service", after=now)
    assert main_pid(service) != first
    read_shadow(service, mark)
    journal.expect(SENSITIVE, mark, after=now)


def test_a_stopped_and_disabled_service_stays_so_over_an_upgrade(service: Machine, package: Path) -> None:
    service.run("systemctl", "disable", "--now", "falco")
    service.run("apt-get", "install", "--yes", "--reinstall", "--allow-downgrades", f"/dist/{package.name}")
    assert service.run("systemctl", "is-enabled", "falco", check=False).stdout.strip() == "disabled"


def test_remove_keeps_the_configuration_and_purge_leaves_nothing(machine: Machine, before: dict[str, str]) -> None:
    machine.run("apt-get", "remove", "--yes", "falco-py")
    assert state(machine) != "active"
    for path in ("/etc/falco/falco.yaml", LOCAL):
        assert machine.run("test", "-e", path).returncode == 0
    assert machine.run("ls", "/usr/bin/falco-py", "/usr/lib/falco-py", check=False).stdout == ""
    machine.shell("rm /etc/falco/rules.d/mine.yaml")  # what the administrator made
    machine.run("apt-get", "purge", "--yes", "falco-py")
    after = machine.files()
    assert changes(before, after) == {}
    assert machine.run("ls", "/var/lib/falco", "/var/log/falco", "/run/falco.pid", check=False).stdout == ""
    assert machine.run("systemctl", "cat", "falco", check=False).returncode != 0
