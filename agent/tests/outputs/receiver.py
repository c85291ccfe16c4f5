# SPDX-License-Identifier: Apache-2.0
"""A real HTTP server on loopback that takes alerts, and can be told to take them badly."""

from __future__ import annotations

import gzip
import socket
import subprocess
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable
    from pathlib import Path


class Request(NamedTuple):
    path: str
    headers: dict[str, str]  # names in lower case
    body: str
    at_s: float
    connection: int

    @property
    def key(self) -> str:
        return self.headers["idempotency-key"]


@dataclass(frozen=True)
class Reply:
    """`how`: "whole"; "half" closes within the body, "headless" within the headers, "mute" before them.

    "hang" never answers, "endless" never ends.
    """

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    how: str = "whole"


OK = Reply()


class Receiver:
    """`requests` are all that came, `taken` those that were answered 2xx."""

    def __init__(
        self,
        answer: Callable[[Request], Reply] = lambda request: OK,
        *,
        tls: ssl.SSLContext | None = None,
        port: int = 0,
    ) -> None:
        self.answer = answer
        self.requests: list[Request] = []
        self.taken: list[Request] = []
        self.connections = 0
        self.most_at_once = 0
        self.release = threading.Event()  # ends what hangs
        self._at_once = 0
        self._lock = threading.Lock()
        self._sockets: set[socket.socket] = set()
        self._server = _Server(("127.0.0.1", port), _handler(self))
        self._server.tls = tls
        self._server.receiver = self
        self.port = int(self._server.server_address[1])
        self.scheme = "https" if tls else "http"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}/alerts"

    @property
    def bodies(self) -> list[str]:
        return [request.body for request in self.taken]

    @property
    def duplicates(self) -> int:
        return len(self.taken) - len({request.key for request in self.taken})

    def handled(self, request: Request) -> Reply:
        with self._lock:
            self.requests.append(request)
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            reply = self.answer(request)
            if reply.how == "hang":
                self.release.wait(60)
        finally:
            with self._lock:
                self._at_once -= 1
        if 200 <= reply.status < 300 and reply.how != "hang":
            with self._lock:
                self.taken.append(request)
        return reply

    def opened(self, connection: socket.socket) -> int:
        with self._lock:
            self._sockets.add(connection)
            self.connections += 1
            return self.connections

    def drop_connections(self) -> None:
        with self._lock:
            for connection in self._sockets:
                try:
                    connection.shutdown(socket.SHUT_RDWR)
                except OSError:
                    continue
            self._sockets.clear()

    def close(self) -> None:
        self.release.set()
        self._server.shutdown()
        self._server.server_close()
        self.drop_connections()
        self._thread.join(10)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64
    tls: ssl.SSLContext | None = None
    receiver: Receiver

    def finish_request(self, request: Any, client_address: Any) -> None:
        if self.tls is not None:
            request = self.tls.wrap_socket(request, server_side=True)
        super().finish_request(request, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """The client has gone, or did not trust."""


def _handler(receiver: Receiver) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1
        disable_nagle_algorithm = True

        def setup(self) -> None:
            super().setup()
            self.number = receiver.opened(self.connection)

        def do_POST(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            body = self.rfile.read(int(headers.get("content-length", "0")))
            if headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            reply = receiver.handled(Request(self.path, headers, body.decode(), time.monotonic(), self.number))
            if reply.how in ("mute", "hang"):
                self.close_connection = True
                return
            if reply.how == "headless":
                self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Le")
                self.close_connection = True
                return
            if reply.how == "endless":
                self._go_on()
                return
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            missing = 10 if reply.how == "half" else 0
            self.send_header("Content-Length", str(len(reply.body) + missing))
            self.end_headers()
            self.wfile.write(reply.body)
            self.close_connection |= bool(missing)

        def _go_on(self) -> None:
            self.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            self.close_connection = True
            while not receiver.release.wait(0.001):
                self.wfile.write(b"1000\r\n" + b"x" * 4096 + b"\r\n")

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing."""

    return Handler


class Proxy:
    """Takes CONNECT and passes bytes on. `heads` are what it was asked."""

    def __init__(self) -> None:
        self.heads: list[str] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._pass, args=(near,), daemon=True).start()

    def _pass(self, near: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            head += near.recv(4096)
        self.heads.append(head.decode())
        host, port = head.split()[1].decode().rsplit(":", 1)
        far = socket.create_connection((host, int(port)), 10)
        near.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        threading.Thread(target=_pump, args=(far, near), daemon=True).start()
        _pump(near, far)

    def close(self) -> None:
        self._listener.close()


def _pump(source: socket.socket, target: socket.socket) -> None:
    try:
        while block := source.recv(65536):
            target.sendall(block)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        target.close()


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


class Certificates:
    """An authority, made with openssl, and what it signs. Paths are texts."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.ca, self._ca_key = self._path("ca.crt"), self._path("ca.key")
        openssl("req", "-x509", *_NEW_KEY, "-keyout", self._ca_key, "-out", self.ca, "-days", "2",
                 "-subj", "/CN=test authority")  # fmt: skip

    def _path(self, name: str) -> str:
        self._directory.mkdir(parents=True, exist_ok=True)
        return str(self._directory / name)

    def signed(self, name: str, alternatives: str = "IP:127.0.0.1") -> tuple[str, str]:
        """Certificate and key."""
        cert, key, request = (self._path(f"{name}.{kind}") for kind in ("crt", "key", "csr"))
        extensions = self._path(f"{name}.ext")
        with open(extensions, "w") as file:
            file.write(f"subjectAltName={alternatives}\n")
        openssl("req", *_NEW_KEY, "-keyout", key, "-out", request, "-subj", f"/CN={name}")
        openssl("x509", "-req", "-in", request, "-CA", self.ca, "-CAkey", self._ca_key, "-CAcreateserial",
                 "-out", cert, "-days", "2", "-extfile", extensions)  # fmt: skip
        return cert, key

    def hashed_directory(self) -> str:
        """As ca_path wants it."""
        directory = self._directory / "hashed"
        directory.mkdir()
        name = openssl("x509", "-in", self.ca, "-noout", "-hash").strip()
        (directory / f"{name}.0").write_bytes((self._directory / "ca.crt").read_bytes())
        return str(directory)


_NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")


def openssl(*arguments: str) -> str:
    return subprocess.run(["openssl", *arguments], check=True, capture_output=True, text=True, timeout=30).stdout
