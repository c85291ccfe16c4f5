# SPDX-License-Identifier: Apache-2.0
"""Requests to the API server: an answer becomes JSON, the items of a list, or the lines of a watch.

Invariant: whatever goes wrong is an ApiError, within a bounded time, and nothing longer than its bound is held. All of
it belongs to the loop's thread. A token that is refused is renewed at once, and the request made again with the new
one.
"""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

import aiohttp
from yarl import URL

from .. import __version__, retry_after
from .access import AccessError
from .listing import ITEM_MAX, Listing, MalformedError, TooLargeError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from .access import Access

T = TypeVar("T")

JSON: Final = "application/json"
MERGE_PATCH: Final = "application/merge-patch+json"
TIMEOUT_S: Final = 30.0  # of a request, of its headers, and of silence within a list
BODY_MAX: Final = 16 << 20
_ERROR_MAX: Final = 64 << 10
_MESSAGE_MAX: Final = 500
_CONNECT_S: Final = 10.0
_CONNECTIONS: Final = 32
# A connection that is dead is noticed within a minute, though nothing is sent on it.
_KEEPALIVE: Final = ((socket.TCP_KEEPIDLE, 30), (socket.TCP_KEEPINTVL, 10), (socket.TCP_KEEPCNT, 3))


class ApiError(Exception):
    """`status` 0: there was no answer, or one that cannot be used. `reason` is one word, the API's where it has one."""

    def __init__(self, status: int, reason: str, message: str, retry_after_s: float = 0.0) -> None:
        super().__init__(f"{status} {reason}: {message}" if status else f"{reason}: {message}")
        self.status = status
        self.reason = reason
        self.message = message
        self.retry_after_s = retry_after_s


class Listed(NamedTuple):
    """What a list says of itself."""

    version: str
    next: str  # what `continue` must be for the next page; "" is the last


class Client:
    """`access` need not be open: it is opened with the first request, and tried again with each until it works."""

    def __init__(self, access: Access, *, timeout_s: float = TIMEOUT_S) -> None:
        self.access = access
        self.timeout_s = timeout_s
        self.away: set[object] = set()  # those who ask, and get nothing: so that only one of them tells
        self._session: aiohttp.ClientSession | None = None
        self._renewing: asyncio.Lock | None = None
        self._renewed = 0
        self._thread: threading.Thread | None = None

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    # What is asked; `path` begins with a slash

    async def get(self, path: str, params: Mapping[str, str] | None = None) -> dict[str, Any]:
        """Raises ApiError."""
        return await self._json("GET", path, params or {}, None, JSON)

    async def post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Raises ApiError."""
        return await self._json("POST", path, {}, body, JSON)

    async def patch(self, path: str, body: Mapping[str, Any], content_type: str = MERGE_PATCH) -> dict[str, Any]:
        """Raises ApiError."""
        return await self._json("PATCH", path, {}, body, content_type)

    async def list(
        self, path: str, params: Mapping[str, str], take: Callable[[Any], None], accept: str = JSON
    ) -> Listed:
        """Gives the items to `take` one by one as they come. Raises ApiError, also after some were given."""
        listing = Listing()
        async with self._request("GET", path, params, accept=accept, silence_s=self.timeout_s) as response:
            try:
                async for block in response.content.iter_any():
                    for item in listing.feed(block):
                        take(item)
                metadata = listing.end()
            except TooLargeError:
                raise ApiError(0, "TooLarge", f"{path} has an item of more than {ITEM_MAX} bytes") from None
            except MalformedError as error:
                raise ApiError(0, "Malformed", f"{path} is no list: {error}"[:_MESSAGE_MAX]) from None
        version, following = metadata.get("resourceVersion"), metadata.get("continue")
        return Listed(version if isinstance(version, str) else "", following if isinstance(following, str) else "")

    @asynccontextmanager
    async def stream(
        self, path: str, params: Mapping[str, str], *, accept: str = JSON, silence_s: float
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """Within it the server has agreed; the lines end when it ends them. Raises ApiError, also after `silence_s`."""
        async with self._request("GET", path, params, accept=accept, silence_s=silence_s) as response:
            yield _lines(response)

    # How

    async def _json(
        self, method: str, path: str, params: Mapping[str, str], body: Mapping[str, Any] | None, content_type: str
    ) -> dict[str, Any]:
        data = None if body is None else json.dumps(body).encode()
        async with self._request(method, path, params, data=data, content_type=content_type) as response:
            async with asyncio.timeout(self.timeout_s):
                found = await _body(response, BODY_MAX)
        if len(found) > BODY_MAX:
            raise ApiError(0, "TooLarge", f"{path} has more than {BODY_MAX} bytes")
        return _mapping(found, path)

    @asynccontextmanager
    async def _request(
        self,
        method: str,
        path: str,
        params: Mapping[str, str],
        *,
        data: bytes | None = None,
        content_type: str = JSON,
        accept: str = JSON,
        silence_s: float | None = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """The answer, when it is 2xx; its body is not read. `silence_s` is the longest that nothing of it comes."""
        try:
            response = await self._answered(method, path, params, data, content_type, accept, silence_s)
            try:
                yield response
            finally:
                response.close() if not response.content.at_eof() else response.release()
        except TimeoutError:
            raise self._timed_out(silence_s) from None
        except (aiohttp.ClientError, OSError) as error:
            if isinstance(error, aiohttp.ClientSSLError):
                await self._renew(self._renewed)  # the authority may be another now
            raise ApiError(0, "Unreachable", _short(f"{self.access.url}: {_why(error)}")) from error

    async def _answered(
        self,
        method: str,
        path: str,
        params: Mapping[str, str],
        data: bytes | None,
        content_type: str,
        accept: str,
        silence_s: float | None,
    ) -> aiohttp.ClientResponse:
        for attempt in range(2):
            seen = self._renewed
            headers = {"Accept": accept, **await self._headers()}
            if data is not None:
                headers["Content-Type"] = content_type
            access = self.access
            try:
                async with asyncio.timeout(self.timeout_s):
                    response = await self._opened().request(
                        method,
                        URL(access.url + path).with_query(dict(params)),
                        data=data,
                        headers=headers,
                        allow_redirects=False,
                        ssl=access.tls if access.tls is not None else True,
                        server_hostname=access.server_name or None,
                        proxy=access.proxy or None,
                        timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_S, sock_read=silence_s),
                    )
            except ValueError as error:
                if isinstance(error, aiohttp.ClientSSLError):  # a certificate that is refused is one of these, too
                    raise
                # An address or a token that cannot be written into a request.
                raise ApiError(0, "NoAccess", _short(str(error))) from error
            if 200 <= response.status < 300:
                _keep_alive(response)
                return response
            refused = await self._refusal(response)
            if response.status != 401 or attempt or not await self._renew(seen):
                raise refused
        raise AssertionError

    async def _refusal(self, response: aiohttp.ClientResponse) -> ApiError:
        """The body is a Status, or whatever a proxy says."""
        body = b""
        try:
            with suppress(TimeoutError, aiohttp.ClientError):
                async with asyncio.timeout(self.timeout_s):
                    body = await _body(response, _ERROR_MAX)
        finally:
            response.close()
        pause_s = retry_after.seconds(response.headers.get("Retry-After", ""))
        return refusal(response.status, loaded(body), response.reason or "", pause_s)

    async def _headers(self) -> dict[str, str]:
        access = self.access
        if not access.opened:
            await self._in_thread(access.open)
        return await self._in_thread(access.headers) if access.blocks else access.headers()

    async def _renew(self, seen: int) -> bool:
        """Whether there are other credentials than when there had been `seen` renewals."""
        if self._renewing is None:
            self._renewing = asyncio.Lock()
        async with self._renewing:
            if self._renewed == seen:
                try:
                    if not await self._in_thread(self.access.renew):
                        return False
                except ApiError:
                    return False
                self._renewed += 1
            return True

    async def _in_thread(self, function: Callable[[], T]) -> T:
        """Runs what may wait for a program; one that never ends holds neither the loop nor the agent's end."""
        loop = asyncio.get_running_loop()
        if self._thread is not None and self._thread.is_alive():
            # Another request asks just now, or a program hangs.
            deadline_s = loop.time() + self.timeout_s
            while self._thread is not None and self._thread.is_alive():
                if loop.time() > deadline_s:
                    raise ApiError(0, "NoAccess", f"credentials: nothing within {self.timeout_s:g} s")
                await asyncio.sleep(0.02)
        future: asyncio.Future[T] = loop.create_future()

        def settle(result: T | None, error: BaseException | None) -> None:
            if not future.done():
                future.set_exception(error) if error is not None else future.set_result(result)  # type: ignore[arg-type]

        def run() -> None:
            result: T | None = None
            problem: BaseException | None = None
            try:
                result = function()
            except Exception as error:  # noqa: BLE001 - told to whoever waits
                problem = error
            with suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(settle, result, problem)

        self._thread = threading.Thread(target=run, name="credentials", daemon=True)
        self._thread.start()
        try:
            async with asyncio.timeout(self.timeout_s):
                return await future
        except AccessError as error:
            raise ApiError(0, "NoAccess", _short(str(error))) from error
        except TimeoutError:
            raise ApiError(0, "NoAccess", f"credentials: nothing within {self.timeout_s:g} s") from None

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=_CONNECTIONS),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,  # none is asked for: what is small must not become large here
                headers={"User-Agent": f"falco-py/{__version__}", "Accept-Encoding": "identity"},
            )
        return self._session

    def _timed_out(self, silence_s: float | None = None) -> ApiError:
        return ApiError(0, "Timeout", f"{self.access.url}: nothing within {silence_s or self.timeout_s:g} s")


def refusal(status: int, said: object, reason: str = "", retry_after_s: float = 0.0) -> ApiError:
    """`said` is the API's Status, of an answer or within a watch, or anything else."""
    told, message = (said.get("reason"), said.get("message")) if isinstance(said, dict) else (None, None)
    return ApiError(
        status,
        _short(told if isinstance(told, str) and told else reason) or "Error",
        _short(message) if isinstance(message, str) and message else "no reason is told",
        retry_after_s,
    )


def _why(error: Exception) -> str:
    """Without what aiohttp puts around it."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return str(error.certificate_error)
    if isinstance(error, aiohttp.ClientConnectorError):
        return error.os_error.strerror or str(error.os_error)
    return str(error) or type(error).__name__


async def _body(response: aiohttp.ClientResponse, most: int) -> bytes:
    """What there is; more than `most` bytes when there are more."""
    read = bytearray()
    async for block in response.content.iter_any():
        read += block
        if len(read) > most:
            break
    return bytes(read)


async def _lines(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    """Whole lines; one without an end is left out."""
    held = bytearray()
    async for block in response.content.iter_any():
        seen = len(held)
        held += block
        begin = 0
        while (end := held.find(b"\n", seen)) >= 0:
            if end > begin:
                yield bytes(held[begin:end])
            begin = seen = end + 1
        del held[:begin]
        if len(held) > ITEM_MAX:
            raise ApiError(0, "TooLarge", f"a line of more than {ITEM_MAX} bytes")


def _keep_alive(response: aiohttp.ClientResponse) -> None:
    connection = response.connection
    transport = connection.transport if connection is not None else None
    found = transport.get_extra_info("socket") if transport is not None else None
    if found is None:
        return
    with suppress(OSError):
        found.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in _KEEPALIVE:
            found.setsockopt(socket.IPPROTO_TCP, option, value)


def loaded(text: bytes) -> object:
    """None for what is no JSON."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _mapping(text: bytes, path: str) -> dict[str, Any]:
    found = loaded(text)
    if not isinstance(found, dict):
        raise ApiError(0, "Malformed", f"{path} is answered by something that is no JSON object")
    return found


def _short(text: str) -> str:
    return text[:_MESSAGE_MAX]
