# SPDX-License-Identifier: Apache-2.0
"""The checks of outputs, the web server and a running agent: against real files, sockets and TLS servers."""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from falco_py import __version__
from falco_py.config import load
from falco_py.support import receivers, serving
from falco_py.support.finding import REMOVED, Question
from falco_py.web.status import VARIABLE, Status
from tests.outputs.items import until
from tests.support.findings import asked

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CHECKS = {one.name: one.run for one in (*receivers.CHECKS, *serving.CHECKS)}


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def told(check: str, *overrides: str, private: bool = False, **others: str) -> list[str]:
    question = Question(None, config=load(None, overrides), private=private, **others)  # type: ignore[arg-type]
    return asked(CHECKS[check], question)


@pytest.mark.parametrize("check", ["file_output", "program_output", "syslog_output", "http_output", "spool"])
def test_outputs_that_are_off_are_not_told(check: str, tmp_path: Path) -> None:
    assert [one for one in told(check, "log_syslog=false") if "log" not in one and "goes to" not in one] == []


def test_stdout_is_told() -> None:
    assert told("stdout_output")[0].startswith("ok alerts go to standard output (here: ")
    assert told("stdout_output", "stdout_output.enabled=false", "syslog_output.enabled=true") == []


# file


def written(path: Path | str) -> list[str]:
    return told("file_output", "file_output.enabled=true", f"file_output.filename={path}")


def test_a_directory_that_can_be_written_is_left_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "events.txt"
    assert written(path)[0].startswith(f"ok writable: {path}, ")
    assert os.listdir(tmp_path) == []


def test_a_file_that_is_there_is_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "events.txt"
    path.write_text("before\n")
    stamp = path.stat().st_mtime_ns
    assert written(path)[0].startswith("ok ")
    assert (path.read_text(), path.stat().st_mtime_ns) == ("before\n", stamp)


def test_a_file_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    assert written(tmp_path / "none" / "events.txt")[0].startswith(
        f"FAIL {tmp_path}/none/events.txt cannot be written: No such file or directory -> make its directory"
    )
    assert written(tmp_path)[0].startswith(f"FAIL {tmp_path} cannot be written: Is a directory")
    assert written("/proc/x.txt")[0].startswith("FAIL /proc/x.txt cannot be written: ")


def test_a_pipe_that_nobody_reads_does_not_hold_up_the_check(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert "cannot be written: No such device or address" in written(tmp_path / "pipe")[0]


def test_a_full_file_system_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(receivers.reach, "free_mib", lambda _path: 3)
    assert written(tmp_path / "x")[0].endswith("3 MiB free there -> make room on this file system")


# program


@pytest.mark.parametrize(
    ("program", "word"),
    [
        ("jq '{text: .output}' | curl -d @- -X POST https://x", "jq"),
        ("/usr/bin/logger", "/usr/bin/logger"),
        ("TOKEN=abc KEY='a b' X=\"c d\" curl -d @-", "curl"),
        ("  mail -s alert root", "mail"),
        ("cat>file", "cat"),
        ("$PROGRAM x", ""),
        ("(cat)", ""),
        ("'my program'", ""),
        ("a$b", ""),
        ("", ""),
    ],
)
def test_the_first_word_of_a_command_is_found(program: str, word: str) -> None:
    assert receivers.first_word(program) == word


def started(program: str, *, private: bool = False) -> str:
    (made,) = told(
        "program_output", "program_output.enabled=true", f"program_output.program={program}", private=private
    )
    return made


def test_a_program_is_looked_for_and_not_started(tmp_path: Path) -> None:
    assert started(f"touch {tmp_path}/made").endswith("/touch; it was not started")
    assert os.listdir(tmp_path) == []
    assert started("no-such-program -x").startswith("FAIL there is no program no-such-program on PATH -> install it")
    assert started("while read l; do echo; done").startswith("ok begins with words of the shell")


def test_a_program_may_be_left_out() -> None:
    assert started("no-such-program", private=True).startswith(f"FAIL there is no program {REMOVED} on PATH")


# syslog and log


@pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, socket.SOCK_STREAM])
def test_a_syslog_daemon_is_connected_to_and_told_nothing(tmp_path: Path, kind: socket.SocketKind) -> None:
    path = tmp_path / "log"
    with socket.socket(socket.AF_UNIX, kind) as daemon:
        daemon.bind(str(path))
        if kind == socket.SOCK_STREAM:
            daemon.listen()
        output, log = told("syslog_output", "syslog_output.enabled=true", syslog=str(path))
        assert output.startswith(f"ok {path} takes ")
        assert log == "ok goes to standard error and syslog, from level info"
        if kind == socket.SOCK_DGRAM:
            daemon.setblocking(False)
            with pytest.raises(BlockingIOError):
                daemon.recv(1)


def test_a_syslog_daemon_that_is_away_is_told(tmp_path: Path) -> None:
    output, log = told("syslog_output", "syslog_output.enabled=true", syslog=str(tmp_path / "log"))
    assert output.startswith(f"warn {tmp_path}/log takes no alerts: No such file or directory -> run rsyslog")
    assert log == f"ok goes to standard error only: there is no {tmp_path}/log"
    (log,) = told("syslog_output", "log_stderr=false", syslog=str(tmp_path / "log"))
    assert log.startswith(f"warn goes to nowhere: there is no {tmp_path}/log -> set log_stderr to true")
    (log,) = told("syslog_output", "log_stderr=false", "log_syslog=false")
    assert log.startswith("warn goes nowhere: the agent cannot tell what is wrong")


# http


def posted(url: str, *overrides: str, private: bool = False) -> str:
    (made,) = told("http_output", "http_output.enabled=true", f"http_output.url={url}", *overrides, private=private)
    return made


@pytest.fixture
def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
        return port


class Receiver:
    """Accepts, shakes hands when it has a certificate, and keeps what it is sent."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.got: list[bytes] = []
        self._tls = tls
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            with client:
                client.settimeout(10)
                try:
                    if self._tls is not None:
                        client = self._tls.wrap_socket(client, server_side=True)
                    self.got.append(client.recv(100))
                except OSError:
                    continue

    def close(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._thread.join(30)


@contextmanager
def receiving(tls: ssl.SSLContext | None = None) -> Iterator[Receiver]:
    made = Receiver(tls)
    try:
        yield made
    finally:
        made.close()


def certificate(directory: Path, name: str) -> tuple[Path, Path]:
    """A certificate that signs itself, for 127.0.0.1, and its key."""
    cert, key = directory / f"{name}.crt", directory / f"{name}.key"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
         "-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(cert)],
        check=True, capture_output=True, timeout=60,
    )  # fmt: skip
    return cert, key


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return certificate(tmp_path_factory.mktemp("tls"), "receiver")


def test_a_receiver_is_reached_and_sent_nothing() -> None:
    with receiving() as receiver:
        told = posted(f"http://127.0.0.1:{receiver.port}/x")
        assert told.startswith(f"ok http://127.0.0.1:{receiver.port} is reachable: TCP in ")
        until(lambda: receiver.got)
    assert receiver.got == [b""]


def test_a_receiver_that_is_away_is_a_warning(closed_port: int) -> None:
    told = posted(f"http://127.0.0.1:{closed_port}/secret?x=y")
    assert told.startswith(f"warn http://127.0.0.1:{closed_port} is not reachable: Connection refused -> start the")
    assert "secret" not in told
    assert posted(f"http://127.0.0.1:{closed_port}/", private=True).startswith(f"warn {REMOVED} is not reachable")


def test_a_receiver_that_does_not_answer_is_given_up(monkeypatch: pytest.MonkeyPatch, pair: tuple[Path, Path]) -> None:
    monkeypatch.setattr(receivers.reach, "LIMIT_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        told = posted(f"https://127.0.0.1:{silent.getsockname()[1]}/", f"http_output.ca_cert={pair[0]}")
    assert "is not reachable: no answer within 0.2 s" in told


def test_certificates_are_verified_as_configured(pair: tuple[Path, Path]) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*pair)
    with receiving(context) as receiver:
        url = f"https://127.0.0.1:{receiver.port}/"
        assert "its certificate is not trusted: self-signed certificate -> check http_output.ca_cert" in posted(url)
        assert posted(url, f"http_output.ca_cert={pair[0]}").startswith(f"ok {url[:-1]} is reachable: TLSv1.3 in ")
        assert "certificates are not verified; nothing was sent" in posted(url, "http_output.insecure=true")
    assert set(receiver.got) <= {b""}


def test_a_client_certificate_that_is_refused_is_told(pair: tuple[Path, Path], tmp_path: Path) -> None:
    cert, key = certificate(tmp_path, "agent")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*pair)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(cafile=cert)
    trusted = f"http_output.ca_cert={pair[0]}"
    with receiving(context) as receiver:
        url = f"https://127.0.0.1:{receiver.port}/"
        assert "FAIL" in posted(url, trusted)
        assert "certificate required" in posted(url, trusted)
        mutual = ("http_output.mtls=true", f"http_output.client_cert={cert}", f"http_output.client_key={key}")
        assert posted(url, trusted, *mutual).startswith("ok ")


def test_a_certificate_that_is_none_is_told(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("no PEM")
    told = posted("https://127.0.0.1:1/", f"http_output.ca_cert={tmp_path}/ca.pem")
    assert told.startswith(f"FAIL http_output.ca_cert: {tmp_path}/ca.pem holds no certificate that can be read")


def test_a_proxy_is_tried_in_place_of_the_receiver(monkeypatch: pytest.MonkeyPatch, closed_port: int) -> None:
    monkeypatch.setenv("http_proxy", f"http://user:secret@127.0.0.1:{closed_port}")
    told = posted("http://receiver.example/")
    assert told.startswith(f"warn the proxy 127.0.0.1:{closed_port} for http://receiver.example:80 is not reachable")
    assert "secret" not in told
    with receiving() as proxy:
        monkeypatch.setenv("http_proxy", f"127.0.0.1:{proxy.port}")
        assert "by the proxy" in posted("http://receiver.example/")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    assert f"warn http://127.0.0.1:{closed_port} is not" in posted(f"http://127.0.0.1:{closed_port}/")


# spool


def spooled(directory: Path | str, *overrides: str) -> str:
    (made,) = told("spool", "http_output.enabled=true", "http_output.url=http://x/",
                   f"http_output.spool.directory={directory}", *overrides)  # fmt: skip
    return made


def test_the_spool_is_tried_and_not_made(tmp_path: Path) -> None:
    assert spooled(tmp_path).startswith(f"ok {tmp_path} is writable; ")
    assert spooled(tmp_path / "falco").startswith(f"ok {tmp_path}/falco is not there yet and can be made; ")
    assert os.listdir(tmp_path) == []
    assert spooled("/proc/falco").startswith("FAIL /proc cannot be written: ")


def test_a_spool_without_room_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(receivers.reach, "free_mib", lambda _path: 10)
    assert "10 MiB free, but it may grow to 64 MiB -> make room" in spooled(tmp_path)
    assert spooled(tmp_path, "http_output.spool.max_size_mb=5").startswith("ok ")


def test_the_file_of_metrics_is_tried(tmp_path: Path) -> None:
    path = tmp_path / "none" / "metrics.json"
    assert told("metrics file", "metrics.enabled=true", f"metrics.output_file={path}")[0].startswith(f"FAIL {path}")


# web server and running agent


def served(port: int, *overrides: str, pid_file: str = "/nonexistent") -> list[str]:
    return told("web server", "webserver.enabled=true", "webserver.listen_address=127.0.0.1",
                f"webserver.listen_port={port}", *overrides, pid_file=pid_file)  # fmt: skip


def test_a_port_is_free_or_held(closed_port: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(VARIABLE, "")
    assert told("web server", "webserver.enabled=false")[0].startswith("ok off")
    assert served(closed_port) == [f"ok 127.0.0.1, port {closed_port} is free"]
    with socket.create_server(("127.0.0.1", closed_port)):
        (held,) = served(closed_port)
        assert held.startswith(f"FAIL 127.0.0.1, port {closed_port} is held by pid {os.getpid()} (")
        (tmp_path / "falco.pid").write_text(f"{os.getpid()}\n")
        assert served(closed_port, pid_file=str(tmp_path / "falco.pid")) == [
            f"ok 127.0.0.1, port {closed_port} is held by the running agent (pid {os.getpid()})"
        ]
    assert served(closed_port) == [f"ok 127.0.0.1, port {closed_port} is free"]


def test_an_address_of_another_machine_is_told() -> None:
    told_ = told("web server", "webserver.enabled=true", "webserver.listen_address=192.0.2.1")
    assert told_[0].startswith("FAIL 192.0.2.1, port 8765: Cannot assign requested address")


def test_the_servers_certificate_must_load(closed_port: int, pair: tuple[Path, Path], tmp_path: Path) -> None:
    pem = tmp_path / "falco.pem"
    assert served(closed_port, "webserver.ssl_enabled=true", f"webserver.ssl_certificate={pem}")[0].startswith(
        f"FAIL {pem} cannot be loaded: No such file or directory"
    )
    pem.write_text(pair[1].read_text() + pair[0].read_text())
    assert len(served(closed_port, "webserver.ssl_enabled=true", f"webserver.ssl_certificate={pem}")) == 1


def running(tmp_path: Path) -> str:
    (made,) = told("running agent", pid_file=str(tmp_path / "falco.pid"))
    return made


def test_an_agent_that_runs_is_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "status.sock"
    monkeypatch.setenv(VARIABLE, str(path))
    assert running(tmp_path).startswith("ok none is known: ")
    tells = {"version": __version__, "pid": 17}
    with Status(str(path), lambda: dict(tells)):
        assert running(tmp_path) == f"ok version {__version__}, pid 17, answers on {path}"
        tells["version"] = "0.0.1"
        assert running(tmp_path).startswith(f"warn version 0.0.1, pid 17, answers on {path}; this is {__version__} ->")


def test_a_pid_file_without_an_agent_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "status.sock"))
    with subprocess.Popen(["true"]) as ended:
        pass
    (tmp_path / "falco.pid").write_text(f"{ended.pid}\n")
    assert running(tmp_path).startswith(f"warn {tmp_path}/falco.pid names pid {ended.pid}, which does not run -> ")
    (tmp_path / "falco.pid").write_text(f"{os.getpid()}\n")
    assert "does not answer on" in running(tmp_path)
