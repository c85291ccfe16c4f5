# SPDX-License-Identifier: Apache-2.0
"""Alerts of a running agent in every output, against the real thing: rsyslogd, files, programs, receivers."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest

from tests.live.harness import Agent, agent_command
from tests.metrics.scraping import found as prometheus_found
from tests.metrics.scraping import program, prometheus
from tests.outputs.items import until
from tests.outputs.receiver import OK, Receiver, Reply

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.outputs.receiver import Request

# A /dev of its own with nothing in it but what every program needs, so that /dev/log can be made there.
OWN_DEV = """
set -e
mount -t tmpfs tmpfs /dev
for node in null:3 zero:5 full:7 random:8 urandom:9; do
    mknod -m 666 /dev/${node%:*} c 1 ${node#*:}
done
ln -s /proc/self/fd /dev/fd
mkdir /dev/shm
"$0" -n -f "$1" -i "$2" &
rsyslogd=$!
while ! [ -S /dev/log ]; do sleep 0.05; done
shift 2
trap 'kill -TERM $agent' TERM
"$@" &
agent=$!
wait $agent || :
wait $agent; code=$?
kill $rsyslogd
wait $rsyslogd
exit $code
"""


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    path = tmp_path / "rules.yaml"
    path.write_text(
        "- rule: Canary\n  desc: numbered files\n"
        f"  condition: evt.type in (open, openat) and fd.name startswith {tmp_path}/canary-\n"
        "  output: canary %fd.name\n  priority: WARNING\n"
    )
    return path


@pytest.fixture
def start(tmp_path: Path, rules: Path) -> Iterator[Callable[..., Agent]]:
    running: list[Agent] = []

    def start(*settings: str, **others: Any) -> Agent:
        options = [word for setting in settings for word in ("-o", setting)]
        agent = Agent([rules], tmp_path / "agent", options=options, **others)
        running.append(agent)
        return agent.start()

    yield start
    for agent in running:
        agent.kill()


def canaries(directory: Path, first: int, count: int) -> None:
    """Opens `count` files with numbers from `first`, from a process of its own."""
    code = (
        "import os, sys\n"
        "for n in range(int(sys.argv[2]), int(sys.argv[2]) + int(sys.argv[3])):\n"
        "    try: os.open(f'{sys.argv[1]}/canary-{n}', os.O_RDONLY)\n"
        "    except OSError: pass\n"
    )
    subprocess.run(
        [sys.executable, "-I", "-S", "-c", code, str(directory), str(first), str(count)], check=True, timeout=120
    )


def numbers(texts: list[str]) -> list[int]:
    """Of the canaries in lines of JSON, in their order."""
    found = []
    for text in texts:
        name = json.loads(text)["output_fields"].get("fd.name") or ""
        if "canary-" in name:
            found.append(int(name.rpartition("-")[2]))
    return found


def test_a_file_is_written_and_rotated_from_outside(start: Callable[..., Agent], tmp_path: Path) -> None:
    path, moved = tmp_path / "events.txt", tmp_path / "events.txt.1"
    agent = start("file_output.enabled=true", "file_output.keep_alive=true", f"file_output.filename={path}")
    canaries(tmp_path, 0, 3)
    until(lambda: path.exists() and len(numbers(path.read_text().splitlines())) == 3)
    path.rename(moved)
    os.kill(agent.pid, signal.SIGUSR1)
    assert agent._wait(lambda: any("reopening outputs" in line for line in agent.errors), 10)
    canaries(tmp_path, 3, 2)
    until(lambda: path.exists() and len(path.read_text().splitlines()) >= 2)
    assert agent.stop() == 0
    assert numbers(moved.read_text().splitlines()) == [0, 1, 2]
    assert numbers(path.read_text().splitlines()) == [3, 4]
    assert path.read_text().splitlines()[0] in agent.lines  # the same line as on standard output


def test_rsyslogd_gets_alerts_and_the_log_over_dev_log(start: Callable[..., Agent], tmp_path: Path) -> None:
    rsyslogd = shutil.which("rsyslogd", path="/usr/sbin:/usr/bin:/sbin:/bin")
    assert rsyslogd, "rsyslog is missing; run 'make test'"
    filed, settings = tmp_path / "daemon.log", tmp_path / "rsyslog.conf"
    settings.write_text(
        'module(load="imuxsock")\n'
        'template(name="t" type="string" string="%syslogfacility-text%.%syslogseverity-text% %programname%:%msg%\\n")\n'
        f'*.* action(type="omfile" file="{filed}" template="t")\n'
    )
    agent = start(
        "syslog_output.enabled=true", "json_output=false", json_output=False,
        before=("unshare", "-m", "sh", "-c", OWN_DEV, rsyslogd, str(settings), str(tmp_path / "rsyslog.pid")),
    )  # fmt: skip
    count = 10_000
    canaries(tmp_path, 0, count)
    until(lambda: filed.exists() and f"canary-{count - 1}\n" in filed.read_text(), 60)
    assert agent.stop() == 0
    lines = filed.read_text().splitlines()
    alerts = [line for line in lines if "/canary-" in line]
    assert all(alert.startswith("daemon.warning falco: ") for alert in alerts)
    ends = [f": Warning canary {tmp_path}/canary-{number}" for number in range(count)]
    assert [alert[alert.index(": Warning") :] for alert in alerts] == ends
    assert any(line.startswith("daemon.info falco: Capture started") for line in lines)


def test_the_program_of_the_tutorial_posts_alerts(start: Callable[..., Agent], tmp_path: Path) -> None:
    receiver = Receiver()
    try:
        start(
            "program_output.enabled=true", "program_output.keep_alive=false",
            f"program_output.program=\"jq '{{text: .output}}' | curl -s -d @- -X POST {receiver.url}\"",
        )  # fmt: skip
        canaries(tmp_path, 0, 2)
        until(lambda: len(receiver.taken) == 2, 20)
    finally:
        receiver.close()
    texts = [json.loads(body)["text"] for body in receiver.bodies]
    assert [text.rpartition(" ")[2] for text in texts] == [f"{tmp_path}/canary-{number}" for number in range(2)]
    assert ": Warning canary " in texts[0]


def test_a_slow_standard_output_holds_up_no_other_output(tmp_path: Path, rules: Path) -> None:
    path = tmp_path / "events.txt"
    command = [
        *agent_command(), "-r", str(rules), "-o", "json_output=true", "-o", "file_output.enabled=true",
        "-o", f"file_output.filename={path}", "-o", "output_timeout=500", "-o", "watch_config_files=false",
    ]  # fmt: skip
    log = tmp_path / "log"
    with (
        log.open("w") as errors,
        subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors) as agent,
    ):
        try:
            until(lambda: "Capture started" in log.read_text(), 30)
            canaries(tmp_path, 0, 3000)  # far more than the pipe holds, and nobody reads it
            until(lambda: path.exists() and len(numbers(path.read_text().splitlines())) == 3000, 20)
            until(lambda: '"stdout" output timeout' in log.read_text())
        finally:
            started_s = time.monotonic()
            agent.terminate()
            assert agent.stdout is not None
            code = agent.wait(20)
            took_s = time.monotonic() - started_s
    assert code == 0
    assert took_s < 15  # what standard output did not take is given up after a while
    assert "stdout output: " in log.read_text()


def test_without_a_reader_of_standard_output_the_other_outputs_go_on(tmp_path: Path, rules: Path) -> None:
    path, log = tmp_path / "events.txt", tmp_path / "log"
    command = [*agent_command(), "-r", str(rules), "-o", "json_output=true", "-o", "file_output.enabled=true",
               "-o", f"file_output.filename={path}"]  # fmt: skip
    with (
        log.open("w") as errors,
        subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors) as agent,
    ):
        try:
            until(lambda: "Capture started" in log.read_text(), 30)
            assert agent.stdout is not None
            agent.stdout.close()
            for number in range(3):
                canaries(tmp_path, number, 1)
                until(lambda: path.exists() and len(path.read_text().splitlines()) == number + 1)  # noqa: B023
        finally:
            agent.terminate()
            code = agent.wait(20)
    assert code == 0
    assert numbers(path.read_text().splitlines()) == [0, 1, 2]


def test_repeats_are_folded_when_that_is_wanted(start: Callable[..., Agent], tmp_path: Path) -> None:
    agent = start("fold_repeats.interval_s=1.5", "fold_repeats.by=[fd.directory, proc.name]", json_output=True)
    canaries(tmp_path, 0, 20)
    agent.expect("Canary", "canary-0")
    last = agent.expect("Canary", "more like this")
    assert last.fields["falco_py.repeats"] == 19
    assert len([alert for alert in agent.alerts if alert.rule == "Canary"]) == 2


def http(receiver: Receiver, spool: Path, *more: str) -> tuple[str, ...]:
    return (
        "http_output.enabled=true", f"http_output.url={receiver.url}", f"http_output.spool.directory={spool}",
        "http_output.keep_alive=true", *more,
    )  # fmt: skip


def test_ten_thousand_alerts_reach_a_receiver_that_fails_and_goes_away(
    start: Callable[..., Agent], tmp_path: Path
) -> None:
    count, seen = 10_000, 0

    def answer(request: Request) -> Reply:
        nonlocal seen
        seen += 1
        return {1: Reply(500), 20: Reply(how="half"), 40: Reply(how="mute"), 60: Reply(429)}.get(seen % 100, OK)

    receiver = Receiver(answer)
    try:
        agent = start(*http(receiver, tmp_path / "spool"), "stdout_output.enabled=true")
        canaries(tmp_path, 0, count)
        until(lambda: len(receiver.taken) > count // 4, 60)
        receiver.close()  # away
        agent.expect("Canary", f"canary-{count - 1}", 60)
        receiver, before = Receiver(answer, port=receiver.port), receiver
        until(lambda: len(receiver.taken) + len(before.taken) >= count, 120)
        until(lambda: set(numbers(before.bodies + receiver.bodies)) >= set(range(count)), 60)
        assert agent.stop() == 0
        keys = [request.key for request in before.taken + receiver.taken]
        assert len(set(keys)) == count  # what came twice has the same key
        assert len(keys) - count < count // 5
    finally:
        receiver.close()


def test_kill_9_loses_nothing_that_was_accepted(start: Callable[..., Agent], tmp_path: Path) -> None:
    spool, done = tmp_path / "spool", [0]

    def answer(request: Request) -> Reply:
        done[0] += 1
        time.sleep(0.002)
        return OK

    receiver = Receiver(answer)
    try:
        agent = start(*http(receiver, spool))
        canaries(tmp_path, 0, 3000)
        until(lambda: done[0] > 200, 30)
        agent.kill()
        with sqlite3.connect(f"file:{spool}/http_output.sqlite?mode=ro", uri=True) as database:
            tables = [name for (name,) in database.execute("select name from sqlite_master where type = 'table'")]
            rows = {table: database.execute(f"select count(*) from {table}").fetchone()[0] for table in tables}
        database.close()
        before = set(numbers(receiver.bodies))
        assert max(rows.values()) > 0, f"killed too late to show anything: {rows}, {len(before)} received"
        again = start(*http(receiver, spool))
        assert any("wait" in line and "http output" in line for line in again.errors), again.log()
        canaries(tmp_path, 5000, 1)
        until(lambda: 5000 in numbers(receiver.bodies), 60)
        until(lambda: len(set(numbers(receiver.bodies))) > len(before) + 1, 60)
        again.settle()
        again.stop()
        found = set(numbers(receiver.bodies)) - {5000}
        # in the order in which they came: what was accepted has no gap
        assert found == set(range(len(found)))
        assert len(found) >= len(before) + max(rows.values()) - receiver.duplicates - 2
    finally:
        receiver.close()


def test_health_and_metrics_are_true_of_a_running_agent(start: Callable[..., Agent], tmp_path: Path) -> None:
    agent = start(
        "webserver.enabled=true", "webserver.listen_address=127.0.0.1", "webserver.listen_port=0",
        "webserver.prometheus_metrics_enabled=true", "metrics.enabled=true", "metrics.output_rule=true",
        "metrics.interval=1s", "file_output.enabled=true", f"file_output.filename={tmp_path}/none/events.txt",
    )  # fmt: skip
    line = agent._wait(lambda: next((one for one in agent.errors if "listening on" in one), None), 10)
    base = f"http://{line.rpartition(' ')[2]}"

    def get(path: str) -> str:
        with urllib.request.urlopen(base + path, timeout=10) as answer:
            text: str = answer.read().decode()
        return text

    assert json.loads(get("/healthz")) == {"status": "ok"}
    canaries(tmp_path, 0, 5)
    agent.expect("Canary", "canary-4")
    until(lambda: json.loads(get("/healthz")) == {"status": "degraded", "reasons": ["file output fails"]})
    told = 'falcosecurity_falco_rules_matches_total{priority="4",rule_name="Canary",source="syscall"} 5.0'
    until(lambda: told in get("/metrics"))
    metrics = get("/metrics")
    assert 'falcosecurity_falco_py_output_failing{output="file"} 1.0' in metrics
    assert 'falcosecurity_falco_py_rule_delivered_total{rule_name="Canary"}' in metrics
    with prometheus(tmp_path, base.removeprefix("http://")) as address:
        (known,) = prometheus_found(address, 'falcosecurity_falco_rules_matches_total{rule_name="Canary"}')
    assert known["value"][1] == "5"
    checked = subprocess.run(
        [program("promtool"), "check", "metrics"],
        input=metrics,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert checked.returncode in (0, 3), checked.stderr  # 3: remarks on names
    assert "falco_py" not in checked.stderr  # none of ours
    alert = agent.expect("Falco internal: metrics snapshot", "snapshot")
    assert alert.priority == "Informational"
    assert alert.fields["falco.version"]
    assert json.loads(get("/versions"))["engine_version"] == "63"


def test_the_web_server_moves_with_its_settings(start: Callable[..., Agent], tmp_path: Path, rules: Path) -> None:
    config = tmp_path / "falco.yaml"
    server = "webserver: {enabled: true, listen_address: 127.0.0.1, listen_port: 0, k8s_healthz_endpoint: /%s}\n"
    config.write_text(server % "first")
    agent = Agent([rules], tmp_path / "agent", options=["-c", str(config)])
    try:
        agent.start()

        def address(number: int) -> str:
            found = agent._wait(
                lambda: [line for line in agent.errors if "health webserver, listening on" in line][
                    number : number + 1
                ],
                10,
            )
            assert found, agent.log()
            return f"http://{found[0].rpartition(' ')[2]}"

        def asked(url: str) -> int:
            with urllib.request.urlopen(url, timeout=10) as answer:
                status: int = answer.status
            return status

        first = address(0)
        assert asked(f"{first}/first") == 200
        config.write_text(server % "second")
        assert asked(f"{address(1)}/second") == 200
        with pytest.raises(OSError, match=r"refused|404|reset"):
            asked(f"{first}/first")
        config.write_text("webserver: {enabled: false}\n")
        until(lambda: sum("Reloaded" in line for line in agent.errors) == 2)
        until(lambda: refused(f"{address(1)}/second"))
    finally:
        agent.kill()


def refused(url: str) -> bool:
    try:
        urllib.request.urlopen(url, timeout=10).close()
    except OSError:
        return True
    return False


def test_a_certificate_that_is_none_is_told_before_anything_starts(tmp_path: Path, rules: Path) -> None:
    bad = tmp_path / "ca.pem"
    bad.write_text("no certificate")
    for settings, told in (
        (("http_output.enabled=true", "http_output.url=https://127.0.0.1:1/", f"http_output.ca_cert={bad}"),
         "http_output.ca_cert"),
        (("webserver.enabled=true", "webserver.ssl_enabled=true", f"webserver.ssl_certificate={bad}"),
         "webserver.ssl_certificate"),
    ):  # fmt: skip
        options = [word for setting in settings for word in ("-o", setting)]
        result = subprocess.run(
            [*agent_command(), "-r", str(rules), "--dry-run", *options],
            capture_output=True, text=True, timeout=60, check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert result.returncode == 1
        assert f"Error: {told}" in result.stderr
        assert str(bad) in result.stderr
