# SPDX-License-Identifier: Apache-2.0
"""What becomes of an edit of the rules becomes a Kubernetes Event on their ConfigMap: `kubectl describe` shows it.

Invariant: however often rules are edited, and whatever the API server answers, an Event is written at most once in
`pause_s`, and of what is to be told meanwhile the last one is.
"""

from __future__ import annotations

import asyncio
import secrets
import socket
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from ..log import log
from .client import ApiError

if TYPE_CHECKING:
    from ..background import Background
    from .client import Client
    from .rules import RulesMap

COMPONENT: Final = "falco-py"
REFUSED: Final = "RulesRefused"
LOADED: Final = "RulesLoaded"
PAUSE_S: Final = 10.0
LONGEST_PAUSE_S: Final = 300.0  # while nothing can be written
KNOWN_S: Final = 30.0  # that an Event waits for the watch of its ConfigMap
MAX_MESSAGE_BYTES: Final = 1024  # that the API server takes
_NAME_LENGTH: Final = 200  # of the ConfigMap's name in that of an Event, which has room for 253
_NOT_FOUND: Final = 404
_TOO_MANY: Final = 429


@dataclass(frozen=True, slots=True)
class Report:
    """`reason` is REFUSED or LOADED."""

    reason: str
    message: str


class Reporter:
    """`refused` and `loaded` may be called from any thread, and never wait; `run` writes what they say.

    `written` counts Events and `failures` what could not be written.
    """

    def __init__(
        self, client: Client, background: Background, rules: RulesMap, node: str, pause_s: float = PAUSE_S
    ) -> None:
        self.written = 0
        self.failures = 0
        self._client = client
        self._background = background
        self._rules = rules
        self._node = node or socket.gethostname()
        self._pause_s = self._wait_s = pause_s
        self._pending: Report | None = None
        self._come = asyncio.Event()
        self._last: Report | None = None
        self._last_name = ""  # of its Event
        self._count = 0
        self._told = False  # that it fails

    def refused(self, what: str, end: str) -> None:
        """`what` stands where, and what is wrong there; `end` what follows from it, which is never cut off."""
        self._put(Report(REFUSED, self._message(what, f"; {end}")))

    def loaded(self, what: str) -> None:
        self._put(Report(LOADED, self._message(what, "")))

    def _message(self, what: str, end: str) -> str:
        start = f"node {self._node}: "
        room = MAX_MESSAGE_BYTES - len(f"{start}{end}".encode("utf-8", "replace"))
        return f"{start}{what.encode('utf-8', 'replace')[:room].decode('utf-8', 'ignore')}{end}"

    def _put(self, report: Report) -> None:
        async def put() -> None:
            self._pending = report
            self._come.set()

        self._background.start(put())

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._come.wait()
            self._come.clear()
            report, self._pending = self._pending, None
            if report is None:
                continue
            try:
                await self._write(report)
            except ApiError as error:
                self._failed(report, error)
            else:
                self.written += 1
                self._wait_s = self._pause_s
                self._told = False
            await asyncio.sleep(self._wait_s)

    def _failed(self, report: Report, error: ApiError) -> None:
        self.failures += 1
        final = 400 <= error.status < 500 and error.status != _TOO_MANY
        if not self._told:
            self._told = True
            more = "" if final else "; it is tried again"
            log.warning(f"the Event about ConfigMap {self._rules.name} cannot be written: {error}{more}")
        if final:
            return  # the same again would be refused again: the next one is tried
        self._wait_s = min(LONGEST_PAUSE_S, 2 * self._wait_s)
        if self._pending is None:
            self._pending = report
            self._come.set()

    async def _write(self, report: Report) -> None:
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        path = f"/api/v1/namespaces/{self._rules.namespace}/events"
        if report == self._last:
            change = {"count": self._count + 1, "lastTimestamp": now}
            try:
                await self._client.patch(f"{path}/{self._last_name}", change)
            except ApiError as error:
                if error.status != _NOT_FOUND:  # it may be too old
                    raise
            else:
                self._count += 1
                return
        name = f"{self._rules.name[:_NAME_LENGTH]}.{secrets.token_hex(8)}"
        event = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": name, "namespace": self._rules.namespace},
            "involvedObject": await self._reference(),
            "type": "Warning" if report.reason == REFUSED else "Normal",
            "reason": report.reason,
            "message": report.message,
            "source": {"component": COMPONENT, "host": self._node},
            "reportingComponent": COMPONENT,
            "reportingInstance": socket.gethostname(),
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        }
        await self._client.post(path, event)
        self._last, self._last_name, self._count = report, name, 1

    async def _reference(self) -> dict[str, Any]:
        """What the Event is on. Without the uid, which the watch tells, `kubectl describe` would not find it."""
        rules = self._rules
        with suppress(TimeoutError):
            async with asyncio.timeout(KNOWN_S):
                await rules.told.wait()
        version = rules.version
        made = {"apiVersion": "v1", "kind": "ConfigMap", "namespace": rules.namespace, "name": rules.name}
        if version is not None:
            made |= {"uid": version.uid, "resourceVersion": version.resource_version}
        return made
