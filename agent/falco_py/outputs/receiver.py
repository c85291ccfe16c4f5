# SPDX-License-Identifier: Apache-2.0
"""One request is posted to the receiver; what comes of it becomes a verdict.

Invariant: `post` always ends, within the time-out, and never raises but when it is cancelled. Only an answer 2xx that
came whole is SENT. Nothing is sent anywhere else: redirects are not followed.
"""

from __future__ import annotations

import gzip
import os
from base64 import b64encode
from enum import Enum
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.request import getproxies_environment, proxy_bypass

import aiohttp
from yarl import URL

from .. import retry_after
from ..config.problem import SettingError
from ..log import log
from ..visible import visible
from .tls import Tls

if TYPE_CHECKING:
    from types import SimpleNamespace

    from ..config import HttpOutput
    from .store import Entry

NO_LIMIT_S: Final = 30.0  # of a request, where output_timeout is 0
_ECHO_BYTES: Final = 1024
_READ_BYTES: Final = 64 * 1024  # of an answer; the connection is not used again after a longer one
_IDLE_S: Final = 3600.0  # how long an idle connection stays open with keep_alive
_BURST_S: Final = 1.0  # and without
_REFUSED: Final = (400, 413, 422)
_FRAMING: Final = frozenset({"connection", "content-encoding", "content-length", "idempotency-key",
                             "transfer-encoding"})  # fmt: skip


class Verdict(Enum):
    SENT = "sent"
    REFUSED = "refused"  # this very alert
    FAILED = "failed"
    TIMED_OUT = "timed out"


class Answer(NamedTuple):
    verdict: Verdict
    reason: str = ""
    wait_s: float = 0.0  # Retry-After


class Receiver:
    """`place` is the URL without what may be secret. `resent` counts requests that were sent again at once."""

    def __init__(self, settings: HttpOutput, timeout_ms: int) -> None:
        """Raises SettingError."""
        self.settings = settings
        self.url = URL(settings.url)
        self.place = str(self.url.origin())
        self.timeout_s = timeout_ms / 1000 or NO_LIMIT_S
        self.resent = 0
        self._tls = Tls(settings) if self.url.scheme == "https" else None
        self._proxy, proxy_headers = _proxy(self.url)
        self._headers = _headers(settings)
        self._connect_headers = proxy_headers if self._tls is not None else {}
        if self._tls is None:
            self._headers |= proxy_headers
        self._session: aiohttp.ClientSession | None = None

    async def open(self) -> None:
        settings = self.settings
        trace = aiohttp.TraceConfig()
        trace.on_connection_reuseconn.append(_note_reuse)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=settings.max_in_flight, keepalive_timeout=_IDLE_S if settings.keep_alive else _BURST_S
            ),
            timeout=aiohttp.ClientTimeout(total=self.timeout_s),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,  # answers are read in part only, so a small one must not become a large one
            skip_auto_headers=("Accept-Encoding", "User-Agent"),
            trace_configs=[trace],
        )

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def post(self, entry: Entry) -> Answer:
        reused: list[bool] = []
        try:
            return await self._post(entry, reused)
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
            if not reused:
                return self._failure(error)
        except Exception as error:  # noqa: BLE001 - whatever it is, the alert is not sent
            return self._failure(error)
        # The receiver closed an idle connection while the request was on its way; it says nothing about the receiver.
        self.resent += 1
        try:
            return await self._post(entry, [])
        except Exception as error:  # noqa: BLE001
            return self._failure(error)

    async def _post(self, entry: Entry, reused: list[bool]) -> Answer:
        assert self._session is not None
        data = entry.body
        headers = {"Content-Type": entry.type, "Idempotency-Key": entry.key, **self._headers}
        if self.settings.compress_uploads:
            data = gzip.compress(data, 6, mtime=0)
            headers["Content-Encoding"] = "gzip"
        async with self._session.post(
            self.url,
            data=data,
            headers=headers,
            allow_redirects=False,
            ssl=self._tls.context if self._tls is not None else True,
            proxy=self._proxy,
            proxy_headers=self._connect_headers if self._proxy is not None else None,
            trace_request_ctx=reused,
        ) as response:
            text = await self._read(response)
            if self.settings.echo:
                log.info(f"http output: {self.place} answered {response.status}: {visible(text)}")
            return _judged(response)

    async def _read(self, response: aiohttp.ClientResponse) -> str:
        """The beginning of the answer; its rest is read, too, so that the connection can be used again."""
        read = bytearray()
        async for block in response.content.iter_any():
            read += block
            if len(read) > _READ_BYTES:
                response.close()
                break
        return read[:_ECHO_BYTES].decode("utf-8", "replace")

    def _failure(self, error: Exception) -> Answer:
        if isinstance(error, TimeoutError):
            return Answer(Verdict.TIMED_OUT, f"no answer within {self.timeout_s:g} s")
        return Answer(Verdict.FAILED, _reason(error) + self._renewed())

    def _renewed(self) -> str:
        """Certificates may have been renewed: the next request is made with those that are there now."""
        try:
            if self._tls is not None and self._tls.renew():
                return " (certificates have changed and were read again)"
        except SettingError as problem:
            return f" ({problem.key}: {problem.message})"
        return ""


async def _note_reuse(session: aiohttp.ClientSession, context: SimpleNamespace, parameters: object) -> None:
    context.trace_request_ctx.append(True)


def _judged(response: aiohttp.ClientResponse) -> Answer:
    status = response.status
    if 200 <= status < 300:
        return Answer(Verdict.SENT)
    try:
        said = f"it answered {status} {HTTPStatus(status).phrase}"
    except ValueError:
        said = f"it answered {status}"
    if status in _REFUSED:
        return Answer(Verdict.REFUSED, said)
    if 300 <= status < 400:
        return Answer(Verdict.FAILED, f"{said}; redirects are not followed, http_output.url must be the final address")
    return Answer(Verdict.FAILED, said, retry_after.seconds(response.headers.get("Retry-After", "")))


def _reason(error: Exception) -> str:
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        why = getattr(error.certificate_error, "verify_message", "") or str(error.certificate_error)
        return f"its certificate is not trusted: {why} (see http_output.ca_cert)"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return f"its name cannot be resolved: {error.os_error}"
    if isinstance(error, aiohttp.ClientConnectorError):
        inner = error.os_error
        known = inner.errno is not None and inner.errno > 0
        return f"it cannot be reached: {os.strerror(inner.errno) if known and inner.errno else inner}"
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return "it closed the connection without an answer"
    if isinstance(error, aiohttp.ClientPayloadError):
        return "it closed the connection half way through its answer"
    return f"{type(error).__name__}: {error}"


def _headers(settings: HttpOutput) -> dict[str, str]:
    made = {"User-Agent": settings.user_agent} if settings.user_agent else {}
    for name, value in settings.headers:
        if name.lower() in _FRAMING:
            raise SettingError("http_output.headers", f"{name} is set by the agent", "Leave it out.")
        made = {known: kept for known, kept in made.items() if known.lower() != name.lower()}
        made[name] = value
    return made


def _proxy(url: URL) -> tuple[URL | None, dict[str, str]]:
    """Of the environment, as libcurl has it (http_proxy, https_proxy, all_proxy, no_proxy); and headers for it."""
    proxies = getproxies_environment()
    found = proxies.get(url.scheme) or proxies.get("all")
    if not found or proxy_bypass(f"{url.host}:{url.port}"):
        return None, {}
    try:
        proxy = URL(found if "://" in found else f"http://{found}")
        usable = proxy.scheme in ("http", "https") and bool(proxy.host)
    except ValueError:
        usable = False
    if not usable:
        raise SettingError(
            "http_output.url", f"the proxy of the environment variable {url.scheme}_proxy cannot be used",
            "It must be http:// or https:// and a host; or name the receiver in no_proxy.",
        )  # fmt: skip
    if proxy.user is None:
        return proxy, {}
    account = b64encode(f"{proxy.user}:{proxy.password or ''}".encode()).decode()
    return proxy.with_user(None), {"Proxy-Authorization": f"Basic {account}"}
