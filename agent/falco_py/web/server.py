# SPDX-License-Identifier: Apache-2.0
"""Requests over HTTP or HTTPS become answers about the agent: is it well, which versions, which figures.

It runs in Background's loop. Invariant: whatever clients do, there are at most MAX_CONNECTIONS of them, each request
has a limit in time and size, and none of them makes the agent wait or its log grow.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import json
import logging
import socket
import ssl
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from ..config.problem import SettingError
from ..log import log

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from concurrent.futures import Future

    from ..background import Background
    from ..config.model import WebServer as Settings

MAX_CONNECTIONS: Final = 64
MAX_REQUEST_BYTES: Final = 65536
FIRST_REQUEST_S = 10.0  # from the connection to a whole request, TLS included
IDLE_S = 75.0  # from one whole request to the next: more than Prometheus' usual interval
RETRY_S = 5.0  # between two tries to get the address
CACHE_S = 1.0  # metrics are not made more often
METRICS_S = 10.0  # that making them may take
_HANDSHAKE_S: Final = 5.0
_END_S: Final = 1.0  # that answers on their way get at the end
_CLOSE_S: Final = 3.0
_ACCEPT_PAUSE_S: Final = 0.2
_BACKLOG: Final = 64
_NAME: Final = "falco-py"  # of the header Server; aiohttp's own tells versions
_JSON: Final = "application/json"


@dataclass(frozen=True, slots=True)
class Health:
    """Reasons for not being well; both empty: all is well.

    `unhealthy`: the agent watches nothing, a restart may help. `degraded`: it watches, but something else fails.
    Whoever reaches the port can read them.
    """

    unhealthy: tuple[str, ...] = ()
    degraded: tuple[str, ...] = ()


class WebServer:
    """`port` is the one listened on, 0 until then. `requests`, `dropped` and `failures` count.

    `health`, `versions` and `metrics` are called for answers: the first two in the loop's thread, so that they must not
    wait; `metrics` in a thread of its own, giving the text and its content type. None: there are none to serve.
    """

    def __init__(
        self,
        settings: Settings,
        background: Background,
        health: Callable[[], Health],
        versions: Callable[[], dict[str, Any]],
        metrics: Callable[[], tuple[bytes, str]] | None = None,
    ) -> None:
        self.settings = settings
        self.port = 0
        self.requests = 0
        self.dropped = 0  # connections, because they were slow or too many
        self.failures = 0  # requests that could not be read or answered
        self._background = background
        self._health = health
        self._versions = versions
        self._metrics = metrics if settings.prometheus_metrics_enabled else None
        self._token = settings.bearer_token.encode()
        self._tls: ssl.SSLContext | None = None
        self._listening: socket.socket | None = None
        self._future: Future[None] | None = None
        self._ended = threading.Event()
        self._guests: set[_Guest] = set()
        self._pool = ThreadPoolExecutor(1, "metrics") if self._metrics is not None else None
        self._making: asyncio.Future[tuple[bytes, str]] | None = None
        self._made_s = float("-inf")
        self._told: set[str] = set()  # what the log has of our own failures
        self._manager: web.Server | None = None
        self._logger = _counting_logger(self)

    # -- life -------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Listens, or goes on trying to. Raises SettingError."""
        if self.settings.ssl_enabled:
            self._tls = tls(self.settings.ssl_certificate)
        self._bind(first=True)
        self._future = self._background.start(self._serve())

    def close(self) -> None:
        """Ends all connections; answers on their way get a second. Before Background's own close."""
        if self._future is not None:
            self._future.cancel()
            self._ended.wait(_CLOSE_S)
        if self._listening is not None:
            self._listening.close()
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)

    def _bind(self, first: bool) -> None:
        host, port = self.settings.listen_address, self.settings.listen_port
        made: socket.socket | None = None
        try:
            made = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if host == "::":
                made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            made.setblocking(False)
            made.bind((host, port))
            made.listen(_BACKLOG)
        except OSError as error:
            if made is not None:
                made.close()
            if first:
                log.error(
                    f"the web server cannot listen on {_shown(host, port)}: {error.strerror or error}. The agent goes "
                    f"on without it and tries again every {RETRY_S:g} seconds. What to do: see who has the port with "
                    f"'ss -ltnp', or set webserver.listen_port or webserver.listen_address to another."
                )
            return
        self._listening = made
        self.port = made.getsockname()[1]
        if not first:
            log.notice(f"the web server could take {_shown(host, self.port)} now")
        log.info(f"Starting health webserver, listening on {_shown(host, self.port)}")

    async def _serve(self) -> None:
        try:
            while self._listening is None:
                await asyncio.sleep(RETRY_S)
                self._bind(first=False)
            self._manager = manager = web.Server(self._answer)
            await self._accept(self._listening, manager)
        finally:
            try:
                if self._listening is not None:
                    self._listening.close()
                if self._manager is not None:
                    self._manager.pre_shutdown()  # ends those that ask nothing
                    await asyncio.sleep(0)
                    await self._manager.shutdown(_END_S)
                for guest in list(self._guests):
                    guest.end()
            finally:
                self._ended.set()

    async def _accept(self, listening: socket.socket, manager: web.Server) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                client, _ = await loop.sock_accept(listening)
            except OSError:  # no more files may be open, or the client has gone already
                self.failures += 1
                await asyncio.sleep(_ACCEPT_PAUSE_S)
                continue
            while len(self._guests) >= MAX_CONNECTIONS:
                self._drop(min(self._guests, key=_Guest.worth))
            guest = _Guest(client)
            self._guests.add(guest)
            guest.limit(loop, FIRST_REQUEST_S, self._drop)
            guest.task = loop.create_task(self._connect(guest, manager))

    async def _connect(self, guest: _Guest, manager: web.Server) -> None:
        """Until the connection is there: with TLS that takes the client's part."""
        loop = asyncio.get_running_loop()
        try:
            await loop.connect_accepted_socket(
                lambda: _Connection(self, guest, manager, loop),
                guest.socket,
                ssl=self._tls,
                ssl_handshake_timeout=_HANDSHAKE_S if self._tls is not None else None,
                ssl_shutdown_timeout=_END_S if self._tls is not None else None,
            )
        except asyncio.CancelledError:
            guest.end()
            raise
        except Exception:  # noqa: BLE001 - a client that does not speak TLS, or not ours, is counted and no more
            self.failures += 1
            self._forget(guest)
            guest.end()

    def _drop(self, guest: _Guest) -> None:
        self.dropped += 1
        self._forget(guest)
        guest.end()

    def _forget(self, guest: _Guest) -> None:
        self._guests.discard(guest)
        guest.free()

    # -- answers ----------------------------------------------------------------------------------------------------

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        self.requests += 1
        connection = request.protocol
        if not isinstance(connection, _Connection):
            raise TypeError(type(connection).__name__)
        connection.whole_request()
        if request.method not in ("GET", "HEAD"):
            return _said(405, "only GET and HEAD are answered", Allow="GET, HEAD")
        path = request.path
        if path == self.settings.k8s_healthz_endpoint:
            return self._healthz()
        if path == "/versions":
            return self._refusal(request) or self._told_versions()
        if path == "/metrics" and self._metrics is not None:
            return self._refusal(request) or await self._told_metrics()
        return _said(404, "there is nothing here")

    def _refusal(self, request: web.BaseRequest) -> web.Response | None:
        if not self._token:
            return None
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        right = hmac.compare_digest(given.strip().encode("utf-8", "surrogateescape"), self._token)
        if right and scheme.lower() == "bearer":
            return None
        return _said(401, "the bearer token is missing or wrong", **{"WWW-Authenticate": 'Bearer realm="falco-py"'})

    def _healthz(self) -> web.Response:
        try:
            health = self._health()
        except Exception as error:  # noqa: BLE001 - who asks must get an answer
            health = Health(unhealthy=("the agent cannot tell how it is",))
            self._failed("the state of the agent cannot be told", error)
        if health.unhealthy:
            return _json(503, {"status": "unhealthy", "reasons": [*health.unhealthy, *health.degraded]})
        if health.degraded:
            return _json(200, {"status": "degraded", "reasons": list(health.degraded)})
        return _json(200, {"status": "ok"})

    def _told_versions(self) -> web.Response:
        try:
            return _json(200, self._versions())
        except Exception as error:  # noqa: BLE001 - who asks must get an answer
            self._failed("versions cannot be told", error)
            return _said(500, "versions cannot be told")

    async def _told_metrics(self) -> web.Response:
        now_s = time.monotonic()
        making = self._making
        if making is None or (making.done() and now_s - self._made_s >= CACHE_S):
            assert self._metrics is not None
            making = asyncio.get_running_loop().run_in_executor(self._pool, self._metrics)
            making.add_done_callback(_retrieved)
            self._making, self._made_s = making, now_s
        try:
            body, content_type = await asyncio.wait_for(asyncio.shield(making), METRICS_S)
        except TimeoutError:
            self.failures += 1
            return _said(503, "metrics take too long")
        except Exception as error:  # noqa: BLE001 - who asks must get an answer
            self._failed("metrics cannot be made", error)
            return _said(500, "metrics cannot be made")
        return _response(200, body, content_type)

    def _failed(self, what: str, error: Exception) -> None:
        """A mistake of our own: counted, and told once."""
        self.failures += 1
        if what not in self._told:
            self._told.add(what)
            log.error(f"web server: {what} ({type(error).__name__}: {error}); further failures are counted")


class _Guest:
    """A connection from its accept to its end."""

    __slots__ = ("connection", "requests", "since_s", "socket", "task", "timer")

    def __init__(self, client: socket.socket) -> None:
        self.socket = client
        self.task: asyncio.Task[None] | None = None
        self.connection: _Connection | None = None
        self.timer: asyncio.TimerHandle | None = None
        self.requests = 0
        self.since_s = time.monotonic()  # of the last whole request, or of the accept

    def worth(self) -> tuple[bool, float]:
        """Least: who has asked nothing yet, and of these who has taken longest."""
        return self.requests > 0, self.since_s

    def limit(self, loop: asyncio.AbstractEventLoop, seconds: float, then: Callable[[_Guest], None]) -> None:
        """The time until the next whole request."""
        self.free()
        self.timer = loop.call_later(seconds, then, self)

    def free(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None

    def end(self) -> None:
        self.free()
        transport = self.connection.transport if self.connection is not None else None
        if isinstance(transport, asyncio.WriteTransport):
            transport.abort()
            return
        if self.task is not None and not self.task.done() and self.task is not asyncio.current_task():
            self.task.cancel()
        with contextlib.suppress(OSError):
            self.socket.close()


class _Connection(web.RequestHandler):
    """aiohttp's connection with limits, and without words about who answers."""

    __slots__ = ("_bytes", "_guest", "_of")

    def __init__(self, of: WebServer, guest: _Guest, manager: web.Server, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(
            manager, loop=loop, keepalive_timeout=IDLE_S, logger=of._logger, access_log=None,  # type: ignore[arg-type]
            max_line_size=8190, max_field_size=8190, lingering_time=0,
        )  # fmt: skip
        self._of = of
        self._guest = guest
        self._bytes = 0
        guest.connection = self

    def whole_request(self) -> None:
        self._bytes = 0
        self._guest.requests += 1
        self._guest.since_s = time.monotonic()
        self._guest.limit(self._loop, IDLE_S, self._of._drop)

    def data_received(self, data: bytes) -> None:
        self._bytes += len(data)
        if self._bytes > MAX_REQUEST_BYTES:
            self._of._drop(self._guest)
            return
        try:
            super().data_received(data)
        except Exception:  # noqa: BLE001 - whatever a client sends, it ends its own connection only
            self._of.failures += 1
            self._guest.end()

    def connection_lost(self, exc: BaseException | None) -> None:
        self._of._forget(self._guest)
        super().connection_lost(exc)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """What cannot be read or answered. What was sent is not repeated."""
        self._of.failures += 1
        response = _said(status, "this request is not understood" if status < 500 else "this cannot be answered")
        response.force_close()
        return response


def _counting_logger(server: WebServer) -> logging.Logger:
    """aiohttp's own lines, with their tracebacks, become a count."""

    class Counting(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            server.failures += 1

    made = logging.Logger("falco_py.web", logging.ERROR)
    made.addHandler(Counting())
    made.propagate = False
    return made


def tls(path: str) -> ssl.SSLContext:
    """Raises SettingError."""
    key = "webserver.ssl_certificate"
    remedy = "give a PEM file that holds the private key, without passphrase, and then the certificate with its chain."

    def passphrase() -> str:
        raise SettingError(key, f"{path}: the private key wants a passphrase", remedy)

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(path, password=passphrase)
    except ssl.SSLError as error:
        reason = error.reason.replace("_", " ").lower() if error.reason else "it is no PEM with key and certificate"
        raise SettingError(key, f"{path}: key and certificate do not load: {reason}", remedy) from None
    except OSError as error:
        message = f"{path}: cannot be read: {error.strerror}"
        raise SettingError(key, message, f"check the path and its permissions; {remedy}") from None
    return context


def _shown(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _response(status: int, body: bytes, content_type: str, headers: Mapping[str, str] | None = None) -> web.Response:
    given = {"Server": _NAME, "Content-Type": content_type, "Cache-Control": "no-store", **(headers or {})}
    return web.Response(status=status, body=body, headers=given)


def _json(status: int, value: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> web.Response:
    return _response(status, json.dumps(value).encode(), _JSON, headers)


def _said(status: int, error: str, **headers: str) -> web.Response:
    return _json(status, {"error": error}, headers)


def _retrieved(future: asyncio.Future[Any]) -> None:
    """So that the loop does not complain about what nobody waited for any more."""
    if not future.cancelled():
        future.exception()
