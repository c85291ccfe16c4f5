# SPDX-License-Identifier: Apache-2.0
"""A small API server: ConfigMaps of one namespace with list and watch, and Events with create and patch.

It keeps what was asked and written, and can refuse. It runs in a thread of its own, so that it answers an agent in
another process as well as a client in this one.
"""

from __future__ import annotations

import asyncio
import json
import threading
from typing import TYPE_CHECKING, Any

from aiohttp import web

from falco_py.background import Background

if TYPE_CHECKING:
    from pathlib import Path

NAMESPACE = "falco"
NAME = "falco-rules"
TIMEOUT_S = 10.0


class ApiServer:
    """`events` by name; `requests`: (method, path, query) in order; `refuse`: status for a method and a resource."""

    def __init__(self) -> None:
        self.maps: dict[str, dict[str, Any]] = {}
        self.events: dict[str, dict[str, Any]] = {}
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self.refuse: dict[tuple[str, str], int] = {}
        self.port = 0
        self._version = 100
        self._watches: list[tuple[str, asyncio.Queue[dict[str, Any] | None]]] = []
        self._background = Background()
        self._lock = threading.Lock()
        self._runner: web.AppRunner | None = None

    def start(self) -> ApiServer:
        self._background.call(self._start(), TIMEOUT_S)
        return self

    def stop(self) -> None:
        self._background.call(self._stop(), TIMEOUT_S)
        self._background.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def kubeconfig(self, path: Path) -> Path:
        """Written to `path`; JSON is YAML."""
        named = {"name": "here"}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [named | {"cluster": {"server": self.url}}],
            "users": [named | {"user": {"token": "abc"}}],
            "contexts": [named | {"context": {"cluster": "here", "user": "here"}}],
            "current-context": "here",
        }
        path.write_text(json.dumps(config))
        return path

    # What people do

    def put(self, data: dict[str, Any] | None, name: str = NAME, **more: Any) -> None:
        """Makes or changes a ConfigMap."""
        self._background.call(self._put(data, name, more), TIMEOUT_S)

    def delete(self, name: str = NAME) -> None:
        self._background.call(self._delete(name), TIMEOUT_S)

    def end_watches(self) -> None:
        self._background.call(self._end_watches(), TIMEOUT_S)

    def written(self) -> list[dict[str, Any]]:
        """Events in the order of their making."""
        return list(self.events.values())

    def asked(self, method: str, resource: str) -> int:
        return sum(one == method and path.split("/")[5] == resource for one, path, _ in list(self.requests))

    # How it answers

    async def _start(self) -> None:
        app = web.Application()
        base = "/api/v1/namespaces/{namespace}"
        app.router.add_get(base + "/configmaps", self._list)
        app.router.add_post(base + "/events", self._create)
        app.router.add_patch(base + "/events/{name}", self._patch)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def _stop(self) -> None:
        await self._end_watches()
        if self._runner is not None:
            await self._runner.cleanup()

    async def _put(self, data: dict[str, Any] | None, name: str, more: dict[str, Any]) -> None:
        kind = "MODIFIED" if name in self.maps else "ADDED"
        self._version += 1
        about = {"name": name, "namespace": NAMESPACE, "uid": f"uid-{name}", "resourceVersion": str(self._version)}
        self.maps[name] = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": about, **more}
        if data is not None:
            self.maps[name]["data"] = data
        self._tell(name, {"type": kind, "object": self.maps[name]})

    async def _delete(self, name: str) -> None:
        self._version += 1
        gone = self.maps.pop(name)
        self._tell(name, {"type": "DELETED", "object": gone})

    async def _end_watches(self) -> None:
        for _, queue in self._watches:
            queue.put_nowait(None)

    def _tell(self, name: str, event: dict[str, Any]) -> None:
        for wanted, queue in self._watches:
            if wanted in ("", name):
                queue.put_nowait(event)

    def _refusal(self, request: web.Request, resource: str) -> web.Response | None:
        self.requests.append((request.method, request.path, dict(request.query)))
        status = self.refuse.get((request.method, resource))
        if request.match_info["namespace"] != NAMESPACE:
            status = 403
        if status is None:
            return None
        body = {"kind": "Status", "status": "Failure", "reason": "Forbidden", "message": "no right", "code": status}
        return web.json_response(body, status=status)

    async def _list(self, request: web.Request) -> web.StreamResponse:
        refused = self._refusal(request, "configmaps")
        if refused is not None:
            return refused
        wanted = request.query.get("fieldSelector", "").removeprefix("metadata.name=")
        if request.query.get("watch") in ("1", "true"):
            return await self._watch(request, wanted)
        items = [one for name, one in self.maps.items() if wanted in ("", name)]
        about = {"resourceVersion": str(self._version)}
        return web.json_response({"kind": "ConfigMapList", "apiVersion": "v1", "metadata": about, "items": items})

    async def _watch(self, request: web.Request, wanted: str) -> web.StreamResponse:
        queue: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        since = int(request.query.get("resourceVersion") or 0)
        for name, one in self.maps.items():
            if wanted in ("", name) and int(one["metadata"]["resourceVersion"]) > since:
                queue.put_nowait({"type": "MODIFIED", "object": one})
        entry = (wanted, queue)
        self._watches.append(entry)
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        try:
            await response.prepare(request)
            while (event := await queue.get()) is not None:
                await response.write(json.dumps(event).encode() + b"\n")
        finally:
            self._watches.remove(entry)
        return response

    async def _create(self, request: web.Request) -> web.Response:
        refused = self._refusal(request, "events")
        if refused is not None:
            return refused
        event = await request.json()
        self.events[event["metadata"]["name"]] = event
        return web.json_response(event, status=201)

    async def _patch(self, request: web.Request) -> web.Response:
        refused = self._refusal(request, "events")
        if refused is not None:
            return refused
        assert request.content_type == "application/merge-patch+json"
        event = self.events.get(request.match_info["name"])
        if event is None:
            return web.json_response({"kind": "Status", "reason": "NotFound", "code": 404}, status=404)
        event.update(await request.json())
        return web.json_response(event)
