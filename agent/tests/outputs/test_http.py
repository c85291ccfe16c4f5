# SPDX-License-Identifier: Apache-2.0
"""Every alert reaches the receiver at least once, whatever it and the network do meanwhile."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from email.utils import formatdate
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from falco_py.background import Background
from falco_py.config.model import HttpOutput
from falco_py.outputs import sender
from falco_py.outputs.http import Http
from tests.outputs.items import item, until
from tests.outputs.receiver import OK, Receiver, Reply, Request, free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Make = Callable[..., Http]

AGENT = Path(__file__).resolve().parents[2]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Outputs that are started, and closed at the end."""
    background = Background()
    made: list[Http] = []

    def make(url: str, *, json_output: bool = False, timeout_ms: int = 2000, start: bool = True, **more: Any) -> Http:
        names = HttpOutput.__dataclass_fields__
        settings = {"spool_directory": str(tmp_path / "spool")}
        settings |= {name: more.pop(name) for name in list(more) if name in names}
        more = {"first_pause_s": 0.02, "longest_pause_s": 0.2, "capacity": 100_000, **more}
        http = Http(
            HttpOutput(url, **settings), json_output=json_output, background=background, timeout_ms=timeout_ms, **more
        )
        made.append(http)
        if start:
            http.start()
        return http

    yield make
    for http in made:
        http.close(0.0)
    background.close()


def offer(http: Http, *lines: str, priority: int = 4) -> None:
    for line in lines:
        http.offer(item(line, priority))
    http.tell()


def numbered(count: int, start: int = 0) -> list[str]:
    return [f"alert {number}" for number in range(start, start + count)]


def delivered(http: Http, receiver: Receiver, lines: list[str], timeout_s: float = 30.0) -> None:
    """All have arrived, and the spool knows."""
    until(lambda: not http.spool_waiting and http.stored >= len(lines), timeout_s)
    assert set(receiver.bodies) == set(lines)


class TestRequest:
    def test_an_alert_is_posted_as_its_line(self, receiver: Receiver, make: Make) -> None:
        http = make(receiver.url)
        offer(http, "17:35:48.519227972: Warning café")
        until(lambda: http.sent)
        (request,) = receiver.requests
        assert request.path == "/alerts"
        assert request.body == "17:35:48.519227972: Warning café"
        assert request.headers["content-type"] == "text/plain"
        assert request.headers["user-agent"] == "falcosecurity/falco"
        assert "content-encoding" not in request.headers
        assert len(request.key) > 20

    def test_json_is_called_json(self, receiver: Receiver, make: Make) -> None:
        http = make(receiver.url, json_output=True)
        offer(http, '{"rule":"a"}')
        until(lambda: http.sent)
        assert receiver.requests[0].headers["content-type"] == "application/json"
        assert json.loads(receiver.requests[0].body) == {"rule": "a"}

    def test_headers_are_as_configured(self, receiver: Receiver, make: Make) -> None:
        headers = (("Authorization", "Bearer x"), ("content-type", "text/x-alert"))
        http = make(receiver.url, user_agent="mine/1", headers=headers)
        offer(http, "a")
        until(lambda: http.sent)
        found = receiver.requests[0].headers
        assert (found["user-agent"], found["authorization"], found["content-type"]) == (
            "mine/1",
            "Bearer x",
            "text/x-alert",
        )

    def test_each_alert_has_a_key_of_its_own(self, receiver: Receiver, make: Make) -> None:
        http = make(receiver.url)
        offer(http, *["the same"] * 50)
        until(lambda: http.sent == 50)
        assert len({request.key for request in receiver.requests}) == 50

    def test_compressed_bodies_are_gzip(self, receiver: Receiver, make: Make) -> None:
        http = make(receiver.url, compress_uploads=True)
        offer(http, "x" * 10_000)
        until(lambda: http.sent)
        (request,) = receiver.requests
        assert request.headers["content-encoding"] == "gzip"
        assert int(request.headers["content-length"]) < 200
        assert request.body == "x" * 10_000

    def test_slack_and_alertmanager_get_their_shapes(self, receiver: Receiver, make: Make, tmp_path: Path) -> None:
        for format in ("slack", "alertmanager"):
            http = make(receiver.url, format=format, spool_directory=str(tmp_path / format))
            offer(http, "line")
            until(lambda http=http: http.sent)
        first, second = receiver.requests
        assert json.loads(first.body)["text"].startswith("line")
        assert json.loads(second.body)[0]["labels"]["alertname"] == "rule"
        assert {request.headers["content-type"] for request in receiver.requests} == {"application/json"}

    def test_answers_go_to_the_log_when_asked_for(
        self, receiver: Receiver, make: Make, capfd: pytest.CaptureFixture[str]
    ) -> None:
        receiver.answer = lambda request: Reply(202, body=b"thank\x1b[31m you" + b"." * 5000)
        http = make(receiver.url, echo=True)
        offer(http, "a")
        until(lambda: http.sent)
        told = capfd.readouterr().err
        assert "answered 202: thank\\x1b[31m you..." in told
        assert len(told) < 1400

    def test_a_proxy_of_the_environment_is_used_but_for_no_proxy(
        self, receiver: Receiver, make: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setenv("http_proxy", f"http://user:secret@127.0.0.1:{receiver.port}")
        http = make("http://receiver.invalid/alerts")
        offer(http, "a")
        until(lambda: http.sent)
        assert receiver.requests[0].path == "http://receiver.invalid/alerts"
        assert receiver.requests[0].headers["proxy-authorization"] == "Basic dXNlcjpzZWNyZXQ="
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        direct = make(receiver.url, spool_directory=str(tmp_path / "direct"))
        offer(direct, "b")
        until(lambda: direct.sent)
        assert receiver.requests[1].path == "/alerts"


class TestMany:
    def test_ten_thousand_arrive_each_once(self, receiver: Receiver, make: Make) -> None:
        lines = numbered(10_000)
        http = make(receiver.url, keep_alive=True)
        began_s = time.monotonic()
        offer(http, *lines)
        delivered(http, receiver, lines, 60)
        print(f"10,000 alerts in {time.monotonic() - began_s:.1f} s")
        assert receiver.duplicates == 0
        assert (http.sent, http.retried, http.lost) == (10_000, 0, 0)
        assert receiver.connections <= 8

    def test_ten_thousand_arrive_over_a_receiver_of_all_faults(self, receiver: Receiver, make: Make) -> None:
        chance = random.Random(1)
        faults = (Reply(500), Reply(503), Reply(429), Reply(how="half"), Reply(how="headless"), Reply(how="mute"))

        def answer(request: Request) -> Reply:
            return chance.choice(faults) if chance.random() < 0.05 else OK

        receiver.answer = answer
        lines = numbered(10_000)
        http = make(receiver.url, keep_alive=True, first_pause_s=0.002, longest_pause_s=0.02)
        offer(http, *lines)
        delivered(http, receiver, lines, 60)
        assert http.lost == 0
        assert http.retried > 300
        print(f"{receiver.duplicates} duplicates, {http.retried} requests again")
        # "half" and "headless" are counted as taken by the receiver, and come again.
        assert 0 < receiver.duplicates < 1000

    def test_no_more_are_under_way_than_allowed(self, receiver: Receiver, make: Make) -> None:
        def slow(request: Request) -> Reply:
            time.sleep(0.01)
            return OK

        receiver.answer = slow
        http = make(receiver.url, max_in_flight=3)
        offer(http, *numbered(100))
        until(lambda: http.sent == 100)
        assert receiver.most_at_once == 3


class TestFaults:
    def test_a_receiver_that_answers_500_for_a_while(
        self, receiver: Receiver, make: Make, capfd: pytest.CaptureFixture[str]
    ) -> None:
        receiver.answer = lambda request: Reply(500)
        http = make(receiver.url)
        lines = numbered(50)
        offer(http, *lines)
        until(lambda: len(receiver.requests) > 12)
        assert http.problem == f"http://127.0.0.1:{receiver.port}: it answered 500 Internal Server Error"
        receiver.answer = lambda request: OK
        delivered(http, receiver, lines)
        assert http.problem == ""
        told = capfd.readouterr().err
        assert told.count("it answered 500 Internal Server Error; alerts wait in the spool") == 1
        assert told.count("answers again") == 1

    @pytest.mark.parametrize("status", [401, 403, 404, 408, 425, 429, 500, 502, 503, 504])
    def test_what_may_be_mended_is_tried_again(self, receiver: Receiver, make: Make, status: int) -> None:
        receiver.answer = lambda request: Reply(status) if len(receiver.requests) < 6 else OK
        http = make(receiver.url)
        offer(http, "a")
        delivered(http, receiver, ["a"])
        assert (len(receiver.requests), http.refused, http.retried) == (6, 0, 5)

    @pytest.mark.parametrize("how", ["mute", "headless", "half"])
    def test_a_receiver_that_closes_too_early(self, receiver: Receiver, make: Make, how: str) -> None:
        receiver.answer = lambda request: Reply(how=how) if len(receiver.requests) < 20 else OK
        http = make(receiver.url)
        lines = numbered(30)
        offer(http, *lines)
        delivered(http, receiver, lines)
        assert http.lost == 0

    def test_a_receiver_that_hangs(self, receiver: Receiver, make: Make, capfd: pytest.CaptureFixture[str]) -> None:
        receiver.answer = lambda request: Reply(how="hang")
        http = make(receiver.url, timeout_ms=100, max_consecutive_timeouts=5)
        lines = numbered(30)
        offer(http, *lines)
        until(lambda: http.consecutive_timeouts > 10)
        assert f"http://127.0.0.1:{receiver.port} is away: no answer within 0.1 s, " in http.problem
        receiver.answer = lambda request: OK
        receiver.release.set()
        delivered(http, receiver, lines)
        assert http.consecutive_timeouts == 0
        told = capfd.readouterr().err
        assert told.count(" is away: ") == 1
        assert told.count("answers again") == 1

    def test_a_receiver_that_is_not_there_and_comes(self, make: Make) -> None:
        port = free_port()
        http = make(f"http://127.0.0.1:{port}/alerts")
        lines = numbered(100)
        offer(http, *lines)
        until(lambda: "Connection refused" in http.problem)
        receiver = Receiver(port=port)
        delivered(http, receiver, lines)
        assert receiver.duplicates == 0
        receiver.close()

    def test_a_receiver_that_goes_and_comes_back_again_and_again(self, make: Make) -> None:
        port = free_port()
        http = make(f"http://127.0.0.1:{port}/alerts", keep_alive=True)
        lines: list[str] = []
        found: set[str] = set()
        for turn in range(5):
            receiver = Receiver(port=port)
            new = numbered(200, start=turn * 200)
            lines += new
            offer(http, *new)
            until(lambda receiver=receiver: len(receiver.taken) > 50)
            receiver.close()
            found.update(receiver.bodies)
        receiver = Receiver(port=port)
        until(lambda: not http.spool_waiting and http.stored == len(lines))
        receiver.close()
        found.update(receiver.bodies)
        assert found == set(lines)

    @pytest.mark.parametrize("as_date", [False, True])
    def test_a_receiver_that_asks_to_wait_is_heeded(self, receiver: Receiver, make: Make, as_date: bool) -> None:
        def answer(request: Request) -> Reply:
            if len(receiver.requests) > 1:
                return OK
            return Reply(429, {"Retry-After": formatdate(time.time() + 2, usegmt=True) if as_date else "1"})

        receiver.answer = answer
        http = make(receiver.url, max_in_flight=1)
        offer(http, *numbered(20))
        delivered(http, receiver, numbered(20))
        first, second = receiver.requests[:2]
        assert 0.9 < second.at_s - first.at_s < 5

    def test_while_it_is_away_one_request_at_a_time_tries(self, receiver: Receiver, make: Make) -> None:
        def slow(request: Request) -> Reply:
            time.sleep(0.03)
            return Reply(503)

        receiver.answer = slow
        http = make(receiver.url, max_in_flight=8, first_pause_s=0.001, longest_pause_s=0.01)
        offer(http, *numbered(100))
        until(lambda: http.retried > 2)
        receiver.most_at_once = 0
        before = len(receiver.requests)

        def ten_more() -> bool:
            offer(http, "another")  # what comes meanwhile does not make it ask more
            return len(receiver.requests) > before + 10

        until(ten_more)
        assert receiver.most_at_once == 1

    def test_a_long_outage_costs_few_requests_and_no_alert(self, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
        """Five minutes, at a hundredth of the time: pauses of 5 to 300 ms instead of 0.5 to 30 s."""
        monkeypatch.setattr(sender, "_QUIET_S", 0.6)
        port = free_port()
        http = make(f"http://127.0.0.1:{port}/alerts", first_pause_s=0.005, longest_pause_s=0.3)
        lines = numbered(3000)
        ends_s = time.monotonic() + 3.0
        for start in range(0, len(lines), 10):
            offer(http, *lines[start : start + 10])
            time.sleep(max(0.0, (ends_s - time.monotonic()) / (len(lines) - start) * 10))
        until(lambda: http.spool_waiting == 3000)
        assert http.sent == 0
        assert 8 < http.retried < 100
        receiver = Receiver(port=port)
        delivered(http, receiver, lines)
        receiver.close()
        assert (receiver.duplicates, http.lost) == (0, 0)

    def test_with_one_in_flight_the_order_is_kept_over_an_outage(self, receiver: Receiver, make: Make) -> None:
        receiver.answer = lambda request: Reply(503) if len(receiver.requests) in (1, 2, 30, 31, 32) else OK
        http = make(receiver.url, max_in_flight=1)
        lines = numbered(60)
        offer(http, *lines)
        delivered(http, receiver, lines)
        assert receiver.bodies == lines

    def test_an_alert_that_the_receiver_refuses_is_given_up(
        self, receiver: Receiver, make: Make, capfd: pytest.CaptureFixture[str]
    ) -> None:
        receiver.answer = lambda request: Reply(400) if request.body.endswith("7") else OK
        http = make(receiver.url)
        lines = numbered(20)
        offer(http, *lines)
        until(lambda: http.refused == 2 and not http.spool_waiting)
        assert set(receiver.bodies) == {line for line in lines if not line.endswith("7")}
        assert len([request for request in receiver.requests if request.body == "alert 7"]) == 3
        assert http.lost == 2
        assert capfd.readouterr().err.count("refuses an alert: it answered 400 Bad Request, 3 times") == 1

    def test_an_alert_that_the_receiver_fails_on_holds_up_no_other(self, receiver: Receiver, make: Make) -> None:
        receiver.answer = lambda request: Reply(500) if request.body == "alert 3" else OK
        for most in (1, 8):
            http = make(receiver.url, max_in_flight=most)
            offer(http, *numbered(300))
            until(lambda http=http: http.spool_waiting == 1)
            assert len(receiver.taken) == 299
            receiver.taken.clear()
            http.close(0.0)
            Path(http._spool.path).unlink()

    def test_redirects_are_not_followed(self, receiver: Receiver, make: Make) -> None:
        other = Receiver()
        receiver.answer = lambda request: Reply(307, {"Location": other.url})
        http = make(receiver.url)
        offer(http, "a")
        until(lambda: "redirects are not followed" in http.problem)
        assert other.requests == []
        assert http.spool_waiting == 1
        other.close()

    def test_an_endless_answer_is_cut(self, receiver: Receiver, make: Make) -> None:
        receiver.answer = lambda request: Reply(how="endless")
        http = make(receiver.url)
        offer(http, *numbered(5))
        delivered(http, receiver, numbered(5))
        assert http.retried == 0


class TestConnections:
    def test_idle_connections_stay_open_when_asked_for(self, receiver: Receiver, make: Make) -> None:
        http = make(receiver.url, keep_alive=True, max_in_flight=1)
        for turn in range(2):
            offer(http, *numbered(20))
            until(lambda turn=turn: http.sent == 20 * (turn + 1))
            if not turn:
                time.sleep(2.5)  # longer than a burst; there is nothing to wait for: nothing is to happen
        assert receiver.connections == 1

    def test_otherwise_they_are_closed_after_a_burst(self, receiver: Receiver, make: Make) -> None:
        http = make(receiver.url, keep_alive=False, max_in_flight=1)
        offer(http, *numbered(20))
        until(lambda: http.sent == 20)
        assert receiver.connections == 1

        until(lambda: not _established(receiver.port))
        offer(http, "b")
        until(lambda: http.sent == 21)
        assert receiver.connections == 2

    def test_a_connection_that_was_closed_meanwhile_is_no_failure(
        self, receiver: Receiver, make: Make, capfd: pytest.CaptureFixture[str]
    ) -> None:
        served: set[int] = set()

        def answer(request: Request) -> Reply:  # a second request on the same connection finds it closed
            if request.connection in served:
                return Reply(how="mute", status=500)
            served.add(request.connection)
            return OK

        receiver.answer = answer
        http = make(receiver.url, keep_alive=True, max_in_flight=1)
        offer(http, *numbered(10))
        delivered(http, receiver, numbered(10))
        assert receiver.bodies == numbered(10)
        assert http.retried == 9
        assert "alerts wait" not in capfd.readouterr().err


class TestEnd:
    def test_what_waits_is_sent_at_the_end(self, receiver: Receiver, make: Make) -> None:
        http = make(receiver.url)
        offer(http, *numbered(2000))
        http.close(10)
        assert set(receiver.bodies) == set(numbered(2000))
        assert http.lost == 0

    def test_what_cannot_be_sent_waits_for_the_next_start(self, make: Make, capfd: pytest.CaptureFixture[str]) -> None:
        port = free_port()
        first = make(f"http://127.0.0.1:{port}/alerts", first_pause_s=60.0, longest_pause_s=60.0)
        offer(first, "early")
        until(lambda: first.problem)
        offer(first, *numbered(5000))
        began_s = time.monotonic()
        first.close(10)
        assert time.monotonic() - began_s < 5  # a receiver that is away is asked once more, no longer
        assert first.lost == 0
        assert "5001 alerts wait in" in capfd.readouterr().err
        receiver = Receiver(port=port)
        second = make(f"http://127.0.0.1:{port}/alerts")
        until(lambda: second.sent == 5001)
        assert set(receiver.bodies) == {"early", *numbered(5000)}
        assert receiver.duplicates == 0
        receiver.close()

    def test_a_receiver_that_hangs_does_not_hold_up_the_end(self, receiver: Receiver, make: Make) -> None:
        receiver.answer = lambda request: Reply(how="hang")
        http = make(receiver.url, timeout_ms=0)
        offer(http, *numbered(100))
        until(lambda: receiver.requests)
        began_s = time.monotonic()
        http.close(0.5)
        assert time.monotonic() - began_s < 3
        assert http.lost == 0

    def test_the_successor_goes_on_where_it_ended(self, receiver: Receiver, make: Make) -> None:
        lines = numbered(1000)
        for start in range(0, 1000, 100):
            http = make(receiver.url)
            offer(http, *lines[start : start + 100])
            http.close(0.02)
        last = make(receiver.url)
        until(lambda: last.sent and not last.spool_waiting)
        assert set(receiver.bodies) == set(lines)
        assert last.spool_in_memory == ""

    def test_one_that_was_never_started_can_be_closed(self, make: Make, tmp_path: Path) -> None:
        make("http://127.0.0.1:9/", start=False).close(1.0)
        assert not (tmp_path / "spool").exists()

    def test_a_kill_loses_none_that_was_accepted(self, receiver: Receiver, make: Make, tmp_path: Path) -> None:
        def slow(request: Request) -> Reply:
            time.sleep(0.01)
            return OK

        receiver.answer = slow
        process = subprocess.Popen(
            [sys.executable, __file__, receiver.url, str(tmp_path / "spool")],
            env={**os.environ, "PYTHONPATH": str(AGENT)},
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        accepted = [process.stdout.readline().strip() for _ in range(3000)]
        until(lambda: len(receiver.taken) > 100)
        process.send_signal(signal.SIGKILL)
        accepted += [line.strip() for line in process.stdout if line.endswith("\n")]
        process.wait(10)
        process.stdout.close()
        receiver.answer = lambda request: OK
        before = len(set(receiver.bodies))
        http = make(receiver.url)
        until(lambda: http.sent and not http.spool_waiting, 60)
        assert before < len(accepted)
        assert set(accepted) <= set(receiver.bodies)
        print(f"{len(accepted)} accepted, {before} had arrived, {receiver.duplicates} duplicates")
        assert receiver.duplicates <= 128 + 8


def test_an_agent_without_it_does_not_load_asyncio_or_aiohttp() -> None:
    code = (
        "import sys, falco_py.outputs.build, falco_py.outputs.hub; print(sys.modules.keys() & {'aiohttp', 'asyncio'})"
    )
    done = subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(AGENT)},
                          capture_output=True, text=True, timeout=30, check=True)  # fmt: skip
    assert done.stdout.strip() == "set()"


def _established(port: int) -> int:
    """Connections of this machine to the port, by /proc/net/tcp."""
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    return sum(line.split()[2].endswith(f":{port:04X}") and line.split()[3] == "01" for line in lines)


def _accept(url: str, directory: str) -> None:
    """Offers alerts until it is killed, and prints those that are accepted."""

    class Telling(Http):
        def deliver(self, items: Any) -> None:
            super().deliver(items)
            print("\n".join(one.line for one in items), flush=True)

    http = Telling(HttpOutput(url, spool_directory=directory), json_output=False, background=Background())
    http.start()
    number = 0
    while True:
        offer(http, *numbered(20, number))
        number += 20
        time.sleep(0.001)


if __name__ == "__main__":
    _accept(*sys.argv[1:])
