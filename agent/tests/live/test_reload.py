# SPDX-License-Identifier: Apache-2.0
"""Reloading a running agent: by signal and by file, refused when broken, a thousand times without a leak or a loss."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import termios
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.live.harness import Agent, agent_command
from tests.outputs.items import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

RELOADED = "Reloaded: "
RELOADS = 1000


def rules(number: int, canaries: str) -> str:
    """A set of rules that is another each time: other names, other clauses of the kernel's filter, another output."""
    others = "".join(
        f"- rule: other {number} {which}\n  desc: changes\n"
        f"  condition: evt.type = openat and fd.name = /nowhere/{number % 7}/{which}\n"
        f"  output: other {which} of {number} %fd.name\n  priority: INFO\n"
        for which in range(number % 5)
    )
    return (
        f"{others}- rule: Canary\n  desc: numbered files\n"
        f"  condition: evt.type in (open, openat) and fd.name startswith {canaries}/canary-\n"
        "  output: canary %fd.name version="
        f"{number}\n  priority: NOTICE\n"
    )


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Agent]]:
    running: list[Agent] = []

    def start(*paths: Path, options: tuple[str, ...] = ()) -> Agent:
        agent = Agent(list(paths), tmp_path / "agent", options=options)
        running.append(agent)
        return agent.start()

    yield start
    for agent in running:
        agent.stop()


def open_file(path: Path) -> None:
    """In a process of its own: the agent's test must not be what the agent watches by accident."""
    subprocess.run([sys.executable, "-I", "-S", "-c", "import sys\ntry: open(sys.argv[1])\nexcept OSError: pass",
                    str(path)], check=True, timeout=30)  # fmt: skip


def write(path: Path, text: str) -> None:
    """As an editor does: a new file renamed over the old one."""
    new = path.with_name("." + path.name)
    new.write_text(text)
    new.rename(path)


def reloads(agent: Agent) -> int:
    return sum(RELOADED in line for line in agent.errors)


def wait_for_reload(agent: Agent, before: int) -> None:
    assert agent._wait(lambda: reloads(agent) > before, 20), f"no reload:\n{agent.log()}"


def test_sighup_loads_an_edited_file(start: Callable[..., Agent], tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text(rules(1, str(tmp_path)))
    agent = start(path, options=("-o", "watch_config_files=false", "-P", str(tmp_path / "pid")))
    open_file(tmp_path / "canary-1")
    agent.expect("Canary", "version=1")
    write(path, rules(2, str(tmp_path)))
    os.kill(int((tmp_path / "pid").read_text()), signal.SIGHUP)
    wait_for_reload(agent, 0)
    open_file(tmp_path / "canary-2")
    agent.expect("Canary", "version=2")


def test_an_edit_is_loaded_without_a_signal(start: Callable[..., Agent], tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text(rules(1, str(tmp_path)))
    agent = start(path)
    write(path, rules(2, str(tmp_path)))
    wait_for_reload(agent, 0)
    open_file(tmp_path / "canary-2")
    agent.expect("Canary", "version=2")


def test_a_broken_edit_is_refused_told_and_changes_nothing(start: Callable[..., Agent], tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text(rules(1, str(tmp_path)))
    agent = start(path)
    write(path, rules(2, str(tmp_path)).replace("evt.type in", "evt.tpye in"))
    alert = agent.expect("Falco internal: hot restart failure", f"{path}:")
    assert (alert.priority, alert.source) == ("Critical", "internal")
    assert "evt.tpye" in alert.fields["reason"]
    assert any(line.split(": ", 1)[1].startswith(f"{path}:") for line in agent.errors)
    open_file(tmp_path / "canary-1")
    agent.expect("Canary", "version=1")
    write(path, rules(3, str(tmp_path)))  # mended
    wait_for_reload(agent, 0)
    open_file(tmp_path / "canary-3")
    agent.expect("Canary", "version=3")


def test_the_configuration_is_loaded_anew_with_the_options_of_the_command_line(
    start: Callable[..., Agent], tmp_path: Path
) -> None:
    path, config, events = tmp_path / "rules.yaml", tmp_path / "falco.yaml", tmp_path / "events.txt"
    path.write_text(rules(1, str(tmp_path)))
    config.write_text("json_include_tags_property: true\n")
    agent = start(path, options=("-c", str(config)))
    write(config, f"file_output: {{enabled: true, filename: {events}}}\njson_include_tags_property: false\n")
    wait_for_reload(agent, 0)
    open_file(tmp_path / "canary-1")
    agent.expect("Canary", "canary-1")
    line = next(line for line in agent.lines if "canary-1" in line)
    assert '"tags"' not in line  # json_output is still on: -o counts after the file
    agent.stop()
    assert line in events.read_text()


def test_the_state_of_processes_is_kept(start: Callable[..., Agent], tmp_path: Path) -> None:
    """A process that began, and changed its directory, before the reload is known after it."""
    path = tmp_path / "rules.yaml"
    path.write_text(rules(1, str(tmp_path)))
    agent = start(path, options=("-o", "watch_config_files=false"))
    code = (
        "import os, sys\nos.chdir('/usr/lib')\nprint(flush=True)\nsys.stdin.read()\n"
        "os.execv(sys.argv[1], ['cat', sys.argv[2]])"
    )
    with subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", code, "/bin/cat", str(tmp_path / "canary-9")],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    ) as process:  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.readline()
        text = rules(2, str(tmp_path)).replace("version=2", "version=2 cwd=%proc.cwd pexe=%proc.pexepath")
        write(path, text)
        os.kill(agent.pid, signal.SIGHUP)
        wait_for_reload(agent, 0)
    alert = agent.expect("Canary", "canary-9")
    assert alert.fields["proc.cwd"] == "/usr/lib/"
    assert "python" in alert.fields["proc.pexepath"]


def test_rules_that_ask_for_environments_find_those_of_processes_that_were_there(
    start: Callable[..., Agent], tmp_path: Path
) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text(rules(1, str(tmp_path)))
    agent = start(path, options=("-o", "watch_config_files=false"))
    code = "import sys\nsys.stdin.read()\ntry: open(sys.argv[1])\nexcept OSError: pass"
    with subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", code, str(tmp_path / "canary-env")],
        stdin=subprocess.PIPE, env={"MARK": "early"},
    ) as process:  # fmt: skip
        assert process.stdin is not None
        write(path, rules(2, str(tmp_path)).replace("version=2", "version=2 mark=%proc.env[MARK]"))
        os.kill(agent.pid, signal.SIGHUP)
        wait_for_reload(agent, 0)
    assert agent.expect("Canary", "canary-env").fields["proc.env[MARK]"] == "early"


class Canaries:
    """Opens numbered files, one after the other, from a process of its own, until it is stopped."""

    CODE = (
        "import os, sys, time\n"
        "n = 0\n"
        "while not os.path.exists(sys.argv[1] + '/stop'):\n"
        "    try: os.open(f'{sys.argv[1]}/canary-{n}', os.O_RDONLY)\n"
        "    except OSError: pass\n"
        "    n += 1\n"
        "    time.sleep(0.002)\n"
        "print(n)\n"
    )

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", self.CODE, str(directory)], stdout=subprocess.PIPE, text=True
        )

    def stop(self) -> int:
        """How many were opened."""
        (self.directory / "stop").touch()
        told, _ = self.process.communicate(timeout=60)
        return int(told)


def footprint(pid: int) -> dict[str, int]:
    """What must not grow: resident memory in kB, open files, threads."""
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return {
        "rss_kb": int(status["VmRSS"].split()[0]),
        "fds": len(os.listdir(f"/proc/{pid}/fd")),
        "threads": int(status["Threads"]),
    }


def test_after_a_reload_the_agent_rests(start: Callable[..., Agent], tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text(rules(1, str(tmp_path)))
    agent = start(path)
    os.kill(agent.pid, signal.SIGHUP)
    wait_for_reload(agent, 0)
    share = 1.0
    ends_s = time.monotonic() + 20
    while share > 0.3:  # a loop that does not wait takes a whole core
        assert time.monotonic() < ends_s, f"{share:.2f} of a core"
        before, began_s = cpu_s(agent.pid), time.monotonic()
        time.sleep(1)  # what is measured
        share = (cpu_s(agent.pid) - before) / (time.monotonic() - began_s)


def test_an_agent_whose_terminal_is_closed_ends(tmp_path: Path) -> None:
    path, log = tmp_path / "rules.yaml", tmp_path / "log"
    path.write_text(rules(1, str(tmp_path)))
    ours, theirs = os.openpty()
    with log.open("w") as errors:
        agent = subprocess.Popen(
            [*agent_command(), "-r", str(path)], stdin=theirs, stdout=theirs, stderr=errors, start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
            env={**os.environ, "FALCO_PY_STATUS_SOCKET": ""},
        )  # fmt: skip
    try:
        os.close(theirs)
        until(lambda: "Capture started" in log.read_text(), 30)
        os.close(ours)
        assert agent.wait(20) == 0
        assert "reloading" not in log.read_text()
    finally:
        agent.kill()
        agent.wait()


def cpu_s(pid: int) -> float:
    words = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def test_a_thousand_reloads_under_load_lose_no_event_and_leak_nothing(
    start: Callable[..., Agent], tmp_path: Path
) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text(rules(0, str(tmp_path)))
    agent = start(path, options=("-o", "watch_config_files=false", "-o", "log_level=info"))
    canaries = Canaries(tmp_path)
    after: dict[int, dict[str, int]] = {}
    try:
        for number in range(1, RELOADS + 1):
            before = reloads(agent)
            write(path, rules(number, str(tmp_path)))
            os.kill(agent.pid, signal.SIGHUP)
            wait_for_reload(agent, before)
            if number in (RELOADS // 5, RELOADS):
                after[number] = footprint(agent.pid)
    finally:
        opened = canaries.stop()
    agent.settle()
    seen = {alert.fields["fd.name"] for alert in agent.alerts if alert.rule == "Canary"}
    missing = {f"{tmp_path}/canary-{number}" for number in range(opened)} - seen
    assert not missing, f"{len(missing)} of {opened} lost, such as {sorted(missing)[:5]}"
    assert opened > RELOADS
    early, late = after[RELOADS // 5], after[RELOADS]
    assert late["fds"] <= early["fds"]
    assert late["threads"] <= early["threads"]
    # the process table grows a little meanwhile: the machine starts programs
    assert late["rss_kb"] < early["rss_kb"] + 6000, (early, late)


def test_a_reload_does_not_hold_up_alerts(start: Callable[..., Agent], tmp_path: Path) -> None:
    """While rules that take long to load are read, the alerts of those that run come as ever."""
    path = tmp_path / "rules.yaml"
    path.write_text(rules(0, str(tmp_path)))
    agent = start(path, options=("-o", "watch_config_files=false"))
    many = "".join(
        f"- rule: slow {n}\n  desc: many\n  condition: evt.type = openat and (" +
        " or ".join(f"fd.name glob /x{n}/{m}*a?b" for m in range(60)) + f")\n  output: slow {n}\n  priority: INFO\n"
        for n in range(60)
    )  # fmt: skip
    write(path, many + rules(1, str(tmp_path)))
    started = threading.Event()
    os.kill(agent.pid, signal.SIGHUP)
    assert agent._wait(lambda: any("reloading..." in line for line in agent.errors), 10)
    started.set()
    begun_s = time.monotonic()
    during = 0
    while not reloads(agent) and time.monotonic() - begun_s < 60:
        open_file(tmp_path / f"canary-during-{during}")
        agent.expect("Canary", f"canary-during-{during}", 5)
        during += 1
    assert reloads(agent) == 1, agent.log()
    assert during >= 3
