# SPDX-License-Identifier: Apache-2.0
"""The web server, asked by real clients over real sockets."""

from __future__ import annotations

import http.client
import json
import os
import socket
import ssl
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING, Any

import pytest

from falco_py.background import Background
from falco_py.config.model import WebServer as Settings
from falco_py.config.problem import SettingError
from falco_py.log import log
from falco_py.web import server
from falco_py.web.server import Health, WebServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

DEADLINE_S = 10.0
VERSIONS = {"falco_version": "1.2.3", "engine_version": "63"}
METRICS = b"# HELP up Up.\n# TYPE up gauge\nup 1\n"
TEXT = "text/plain; version=0.0.4"


def wait_for(condition: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.01)


@pytest.fixture
def logged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], str]:
    path = tmp_path / "log"
    fd = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    monkeypatch.setattr(log, "fd", fd)
    monkeypatch.setattr(log, "enabled", True)
    return path.read_text


class Site:
    """What a test starts, and asks."""

    def __init__(self, stack: ExitStack) -> None:
        self.stack = stack
        self.health: Health | Exception = Health()
        self.metrics: Callable[[], tuple[bytes, str]] | None = lambda: (METRICS, TEXT)
        self.versions: Callable[[], dict[str, Any]] = lambda: VERSIONS
        self.server: WebServer

    def start(self, **settings: Any) -> WebServer:
        background = Background()
        chosen = {"listen_address": "127.0.0.1", "listen_port": 0, **settings}
        self.server = WebServer(Settings(**chosen), background, self._health, lambda: self.versions(), self.metrics)
        self.stack.callback(background.close)
        self.stack.callback(self.server.close)
        self.server.start()
        return self.server

    def _health(self) -> Health:
        if isinstance(self.health, Exception):
            raise self.health
        return self.health

    def client(self, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None) -> http.client.HTTPConnection:
        port = self.server.port
        made = (
            http.client.HTTPConnection(host, port, timeout=DEADLINE_S)
            if tls is None
            else http.client.HTTPSConnection(host, port, timeout=DEADLINE_S, context=tls)
        )
        self.stack.callback(made.close)
        return made

    def ask(
        self, path: str, method: str = "GET", host: str = "127.0.0.1", tls: ssl.SSLContext | None = None, **headers: str
    ) -> http.client.HTTPResponse:
        """The answer, its body still to be read."""
        made = self.client(host, tls)
        made.request(method, path, headers=headers)
        return made.getresponse()

    def connect(self) -> socket.socket:
        return self.stack.enter_context(socket.create_connection(("127.0.0.1", self.server.port), timeout=DEADLINE_S))


@pytest.fixture
def site() -> Iterator[Site]:
    with ExitStack() as stack:
        yield Site(stack)


# -- answers --------------------------------------------------------------------------------------------------------


def test_an_agent_that_is_well_says_falcos_words(site: Site) -> None:
    site.start()
    answer = site.ask("/healthz")
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json")
    assert answer.read() == b'{"status": "ok"}'


def test_a_failing_output_is_told_without_failing_the_probe(site: Site) -> None:
    site.start()
    site.health = Health(degraded=("http output: connection refused",))
    answer = site.ask("/healthz")
    assert answer.status == 200
    assert json.load(answer) == {"status": "degraded", "reasons": ["http output: connection refused"]}


def test_an_agent_that_watches_nothing_fails_the_probe(site: Site) -> None:
    site.start()
    site.health = Health(unhealthy=("the ring is not read",), degraded=("x",))
    answer = site.ask("/healthz")
    assert answer.status == 503
    assert json.load(answer) == {"status": "unhealthy", "reasons": ["the ring is not read", "x"]}


def test_the_health_check_may_have_another_path(site: Site) -> None:
    site.start(k8s_healthz_endpoint="/alive")
    assert (site.ask("/alive").status, site.ask("/healthz").status) == (200, 404)


def test_head_gives_the_same_without_a_body(site: Site) -> None:
    site.start()
    answer = site.ask("/healthz", "HEAD")
    assert (answer.status, answer.headers["Content-Length"], answer.read()) == (200, "16", b"")


def test_versions_are_json(site: Site) -> None:
    site.start()
    assert json.load(site.ask("/versions")) == VERSIONS


def test_metrics_are_given_as_they_are(site: Site) -> None:
    site.start(prometheus_metrics_enabled=True)
    answer = site.ask("/metrics")
    assert (answer.status, answer.headers["Content-Type"], answer.read()) == (200, TEXT, METRICS)


@pytest.mark.parametrize("off", ["here", "there"])
def test_metrics_need_both_switches(site: Site, off: str) -> None:
    if off == "there":
        site.metrics = None
    site.start(prometheus_metrics_enabled=off == "there")
    assert site.ask("/metrics").status == 404


def test_other_paths_and_methods_are_refused(site: Site) -> None:
    site.start()
    assert site.ask("/").status == 404
    answer = site.ask("/healthz", "POST")
    assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize("request_line", ["GET /healthz HTTP/1.1", "GET / HTTP/1.1", "NONSENSE"])
def test_no_answer_tells_versions_of_what_answers(site: Site, request_line: str) -> None:
    site.start()
    with closing(site.connect()) as client:
        client.sendall(f"{request_line}\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        told = b"".join(iter(lambda: client.recv(4096), b""))
    assert b"Server: falco-py\r\n" in told
    assert b"aiohttp" not in told
    assert b"Python" not in told
    assert b"NONSENSE" not in told


def test_a_connection_serves_many_requests(site: Site) -> None:
    site.start()
    with closing(http.client.HTTPConnection("127.0.0.1", site.server.port, timeout=DEADLINE_S)) as client:
        for _ in range(3):
            client.request("GET", "/healthz")
            assert client.getresponse().read() == b'{"status": "ok"}'
    assert site.server.requests == 3


# -- token ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/metrics", "/versions"])
@pytest.mark.parametrize(
    ("given", "status"),
    [
        (None, 401),
        ("Bearer wrong", 401),
        ("Bearer sécret", 401),
        ("Basic secret", 401),
        ("secret", 401),
        ("Bearer secret", 200),
        ("bearer  secret", 200),
    ],
)
def test_a_token_protects_all_but_the_health_check(site: Site, path: str, given: str | None, status: int) -> None:
    site.start(prometheus_metrics_enabled=True, bearer_token="secret")
    answer = site.ask(path, **({} if given is None else {"Authorization": given}))
    assert answer.status == status
    assert ("WWW-Authenticate" in answer.headers) == (status == 401)
    assert site.ask("/healthz").status == 200


# -- TLS ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Key and certificate in one file."""
    directory = tmp_path_factory.mktemp("tls")
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost"
    files = "-addext subjectAltName=IP:127.0.0.1 -keyout key.pem -out cert.pem"
    subprocess.run([*command.split(), *files.split()], cwd=directory, check=True, capture_output=True, timeout=60)
    both = directory / "falco.pem"
    both.write_text((directory / "key.pem").read_text() + (directory / "cert.pem").read_text())
    return both


def test_https_is_served_with_the_certificate(site: Site, pem: Path) -> None:
    site.start(ssl_enabled=True, ssl_certificate=str(pem))
    trusted = ssl.create_default_context(cafile=str(pem.parent / "cert.pem"))
    assert site.ask("/healthz", tls=trusted).read() == b'{"status": "ok"}'
    with pytest.raises(ssl.SSLCertVerificationError):
        site.ask("/healthz", tls=ssl.create_default_context())


def test_tls_older_than_1_2_is_refused(site: Site, pem: Path) -> None:
    site.start(ssl_enabled=True, ssl_certificate=str(pem))
    command = [
        "openssl",
        "s_client",
        "-connect",
        f"127.0.0.1:{site.server.port}",
        "-brief",
        "-cipher",
        "ALL@SECLEVEL=0",
    ]
    old, new = (
        subprocess.run([*command, version], input=b"", capture_output=True, timeout=DEADLINE_S, check=False).stderr
        for version in ("-tls1_1", "-tls1_2")
    )
    assert b"TLSv1.2" in new
    assert b"CONNECTION ESTABLISHED" not in old
    assert site.server._tls is not None  # the machine's own settings may refuse it as well
    assert site.server._tls.minimum_version == ssl.TLSVersion.TLSv1_2


def test_clients_that_do_not_speak_tls_are_counted_and_not_logged(
    site: Site, pem: Path, logged: Callable[[], str], capfd: pytest.CaptureFixture[str]
) -> None:
    site.start(ssl_enabled=True, ssl_certificate=str(pem))
    with closing(site.connect()) as client:
        client.sendall(b"GET /healthz HTTP/1.1\r\n\r\n")
        assert b"200" not in client.recv(1024)
    wait_for(lambda: site.server.failures == 1, "the failure is counted")
    assert "Traceback" not in logged() + capfd.readouterr().err
    trusted = ssl.create_default_context(cafile=str(pem.parent / "cert.pem"))
    assert site.ask("/healthz", tls=trusted).status == 200


def encrypted(pem: Path, into: Path) -> None:
    command = ["openssl", "ec", "-in", str(pem.parent / "key.pem"), "-aes128", "-passout", "pass:x"]
    key = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    into.write_text(key + (pem.parent / "cert.pem").read_text())


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (lambda pem, path: None, "cannot be read: No such file or directory"),
        (lambda pem, path: path.mkdir(), "cannot be read: Is a directory"),
        (lambda pem, path: path.write_text("hello"), "do not load"),
        (lambda pem, path: path.write_text((pem.parent / "cert.pem").read_text()), "do not load"),
        (encrypted, "wants a passphrase"),
    ],
    ids=["missing", "directory", "no pem", "no key", "encrypted"],
)
def test_a_bad_certificate_is_told_with_the_way_out(
    site: Site, pem: Path, tmp_path: Path, made: Callable[[Path, Path], object], said: str
) -> None:
    path = tmp_path / "bad.pem"
    made(pem, path)
    with pytest.raises(SettingError) as raised:
        site.start(ssl_enabled=True, ssl_certificate=str(path))
    assert raised.value.key == "webserver.ssl_certificate"
    assert said in raised.value.message
    assert str(path) in raised.value.message
    assert "PEM" in raised.value.remedy
    assert "What to do: " in str(raised.value)


# -- addresses ------------------------------------------------------------------------------------------------------


def test_the_log_tells_where_it_listens(site: Site, logged: Callable[[], str]) -> None:
    made = site.start()
    assert f": Starting health webserver, listening on 127.0.0.1:{made.port}\n" in logged()


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6")
def test_ipv6_addresses_work(site: Site, logged: Callable[[], str]) -> None:
    made = site.start(listen_address="::1")
    assert site.ask("/healthz", host="::1").status == 200
    assert f"listening on [::1]:{made.port}\n" in logged()


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6")
def test_the_address_of_all_is_that_of_ipv4_too(site: Site) -> None:
    site.start(listen_address="::")
    assert [site.ask("/healthz", host=host).status for host in ("::1", "127.0.0.1")] == [200, 200]


def test_an_address_in_use_is_told_once_and_taken_when_it_is_free(
    site: Site, logged: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "RETRY_S", 0.02)
    tries = []
    bind = WebServer._bind
    monkeypatch.setattr(WebServer, "_bind", lambda self, first: (tries.append(first), bind(self, first))[1])
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        made = site.start(listen_port=port)
        wait_for(lambda: len(tries) > 3, "it tries again")
        assert made.port == 0
    wait_for(lambda: made.port == port, "it listens")
    assert site.ask("/healthz").status == 200
    assert logged().count("Address already in use") == 1
    assert "What to do: " in logged()
    assert logged().count("could take 127.0.0.1:") == 1


def test_an_agent_that_still_waits_for_its_address_ends(site: Site, logged: Callable[[], str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        made = site.start(listen_port=taken.getsockname()[1])
        start = time.monotonic()
        made.close()
        assert time.monotonic() - start < 2


def test_after_the_end_the_port_is_free_at_once(site: Site) -> None:
    port = site.start().port
    assert site.ask("/healthz").status == 200  # leaves a connection behind
    site.server.close()
    site.start(listen_port=port)
    assert site.ask("/healthz").status == 200


# -- clients that are slow, many or wrong ---------------------------------------------------------------------------


def closed_by_peer(client: socket.socket) -> bool:
    try:
        return client.recv(4096) == b""
    except ConnectionError:
        return True


def test_a_request_that_trickles_in_is_cut_off(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "FIRST_REQUEST_S", 0.3)
    site.start()
    client = site.connect()
    start = time.monotonic()

    def trickle() -> None:
        try:
            for byte in b"GET /healthz HTTP/1.1\r\nX-Slow: " + b"a" * 1000:
                client.sendall(bytes([byte]))
                time.sleep(0.02)
        except OSError:
            pass

    thread = threading.Thread(target=trickle)
    thread.start()
    assert closed_by_peer(client)
    assert time.monotonic() - start < 5
    thread.join(DEADLINE_S)
    assert site.server.dropped == 1


def test_a_tls_handshake_that_never_comes_is_cut_off(site: Site, pem: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "FIRST_REQUEST_S", 0.3)
    site.start(ssl_enabled=True, ssl_certificate=str(pem))
    assert closed_by_peer(site.connect())
    wait_for(lambda: not site.server._guests, "it is forgotten")


def test_an_idle_connection_is_closed(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "IDLE_S", 0.2)
    site.start()
    client = site.connect()
    client.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    assert client.recv(4096).startswith(b"HTTP/1.1 200")
    assert closed_by_peer(client)


@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
def test_a_crowd_of_silent_clients_keeps_nobody_out(
    site: Site, pem: Path, monkeypatch: pytest.MonkeyPatch, tls: bool
) -> None:
    monkeypatch.setattr(server, "MAX_CONNECTIONS", 8)
    site.start(ssl_enabled=tls, ssl_certificate=str(pem))
    trusted = ssl.create_default_context(cafile=str(pem.parent / "cert.pem")) if tls else None
    keep = site.client(tls=trusted)
    keep.request("GET", "/healthz")
    assert keep.getresponse().read()
    crowd = [site.connect() for _ in range(30)]
    wait_for(lambda: site.server.dropped >= 30 - 8, "the first of them are dropped")
    keep.auto_open = 0
    keep.request("GET", "/healthz")
    assert keep.getresponse().status == 200
    assert site.ask("/healthz", tls=trusted).status == 200
    assert len(site.server._guests) <= 8
    assert closed_by_peer(crowd[0])


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 70_000 + b"\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 20_000 + b"\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + (b"X: " + b"a" * 8000 + b"\r\n") * 20 + b"\r\n",
        b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n",
        b"\x00\xff\r\n\r\n",
        b"GET /healthz HTTP/9.9\r\n\r\n",
        b"GET  HTTP/1.1\r\n\r\n",
        b"GET /%ff%fe HTTP/1.1\r\nHost: \xff\r\n\r\n",
        b"GET http://[::1/healthz HTTP/1.1\r\nHost: x\r\n\r\n",
        b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999\r\n\r\n" + b"z" * 200_000,
        b"POST /healthz HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
    ],
    ids=["long field", "many fields", "much in all", "long path", "binary", "version", "no path", "bad bytes",
         "bad url", "connect", "long body", "bad chunk", "two lengths"],
)  # fmt: skip
def test_a_wrong_request_ends_with_itself(
    site: Site, logged: Callable[[], str], capfd: pytest.CaptureFixture[str], sent: bytes
) -> None:
    site.start()
    with closing(site.connect()) as client:
        try:
            client.sendall(sent)
            told = client.recv(4096)
        except ConnectionError:
            told = b""
    assert b"HTTP/1.1 2" not in told[:12]
    assert site.ask("/healthz").status == 200
    assert "Traceback" not in logged() + capfd.readouterr().err
    assert "aiohttp" not in logged()


def test_a_client_that_goes_away_is_no_matter(
    site: Site, logged: Callable[[], str], capfd: pytest.CaptureFixture[str]
) -> None:
    big = b"x" * (8 << 20)
    site.metrics = lambda: (big, TEXT)
    site.start(prometheus_metrics_enabled=True)
    for _ in range(3):
        with closing(site.connect()) as client:
            client.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
            client.recv(10)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # ends it by a reset
    wait_for(lambda: not site.server._guests, "they are forgotten")
    assert site.ask("/healthz").status == 200
    assert "Traceback" not in logged() + capfd.readouterr().err


def test_a_client_that_does_not_read_is_cut_off(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "IDLE_S", 0.3)
    big = b"x" * (8 << 20)
    site.metrics = lambda: (big, TEXT)
    site.start(prometheus_metrics_enabled=True)
    site.connect().sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
    wait_for(lambda: site.server.requests == 1, "it is answered")
    wait_for(lambda: not site.server._guests, "it is cut off")


# -- our own failures -----------------------------------------------------------------------------------------------


def test_metrics_are_made_once_a_second_and_beside_the_other_answers(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    go, calls = threading.Event(), []

    def slow() -> tuple[bytes, str]:
        calls.append(threading.current_thread().name)
        go.wait(DEADLINE_S)
        return METRICS, TEXT

    site.metrics = slow
    site.start(prometheus_metrics_enabled=True)
    statuses: list[int] = []
    scrapers = [threading.Thread(target=lambda: statuses.append(site.ask("/metrics").status)) for _ in range(5)]
    for one in scrapers:
        one.start()
    wait_for(lambda: site.server.requests == 5, "all have asked")
    assert site.ask("/healthz").status == 200
    go.set()
    for one in scrapers:
        one.join(DEADLINE_S)
    assert site.ask("/metrics").status == 200
    assert (statuses, len(calls)) == ([200] * 5, 1)
    assert calls[0] != "network"
    monkeypatch.setattr(server, "CACHE_S", 0.0)
    site.ask("/metrics")
    assert len(calls) == 2


def test_metrics_that_take_too_long_are_given_up(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "METRICS_S", 0.1)
    go = threading.Event()
    site.metrics = lambda: (str(go.wait(DEADLINE_S)).encode(), TEXT)
    site.start(prometheus_metrics_enabled=True)
    assert [site.ask("/metrics").status for _ in range(3)] == [503] * 3
    go.set()
    wait_for(lambda: site.ask("/metrics").status == 200, "they come in the end")


def test_what_cannot_be_told_is_an_answer_and_one_line(site: Site, logged: Callable[[], str]) -> None:
    def broken() -> Any:
        raise KeyError("oops")

    site.metrics = site.versions = broken
    site.start(prometheus_metrics_enabled=True)
    site.health = RuntimeError("oops")
    for _ in range(3):
        assert [site.ask(path).status for path in ("/metrics", "/versions", "/healthz")] == [500, 500, 503]
    assert site.server.failures == 9
    errors = [line for line in logged().splitlines() if "web server: " in line]
    assert [line.partition("web server: ")[2].split(" (")[0] for line in errors] == [
        "metrics cannot be made",
        "versions cannot be told",
        "the state of the agent cannot be told",
    ]
    assert "Traceback" not in logged()


def test_complaints_of_the_library_are_counted_and_not_printed(
    site: Site, monkeypatch: pytest.MonkeyPatch, logged: Callable[[], str], capfd: pytest.CaptureFixture[str]
) -> None:
    site.start()
    monkeypatch.setattr(server, "_json", lambda *_: None)  # no answer at all
    assert site.ask("/healthz").status == 500
    assert site.server.failures >= 1
    assert "Error" not in logged() + capfd.readouterr().err


def test_an_agent_without_a_web_server_does_not_import_it() -> None:
    heavy = ("aiohttp", "asyncio", "prometheus_client")
    script = f"import sys, falco_py.app, falco_py.cli; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert done.stdout.strip() == "[]"
