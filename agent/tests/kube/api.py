# SPDX-License-Identifier: Apache-2.0
"""A server on loopback that speaks the API's lists and watches, and can be told to speak them badly."""

from __future__ import annotations

import asyncio
import json
import shutil
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from aiohttp import web

from falco_py.kube.access import Access

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Coroutine
    from pathlib import Path

PODS = "/api/v1/pods"
NAMESPACES = "/api/v1/namespaces"
SERVICES = "/api/v1/services"
REPLICA_SETS = "/apis/apps/v1/replicasets"
DEPLOYMENTS = "/apis/apps/v1/deployments"
JOBS = "/apis/batch/v1/jobs"


class Asked(NamedTuple):
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    @property
    def is_watch(self) -> bool:
        return self.query.get("watch") == "1"

    @property
    def is_list(self) -> bool:
        return self.method == "GET" and not self.is_watch


@dataclass(frozen=True)
class Reply:
    """Instead of what would be answered. `hang`: nothing ever comes."""

    status: int = 200
    body: bytes = b"{}"
    headers: dict[str, str] = field(default_factory=dict)
    hang: bool = False


class _Watcher:
    def __init__(self, path: str) -> None:
        self.path = path
        self.queue: asyncio.Queue[bytes | str] = asyncio.Queue()


class Api:
    """`requests` are all that came. `answer` may give a Reply for one. Without `tokens` everybody may ask."""

    def __init__(self, tls: ssl.SSLContext | None = None, port: int = 0) -> None:
        self.requests: list[Asked] = []
        self.answer: Callable[[Asked], Reply | None] = lambda asked: None
        self.tokens: set[str] = set()
        self.forgets_by_event = True  # 410: within a watch, or as its status
        self.page = 0
        self.forgotten = 0  # versions up to this one cannot be watched from
        self.block = 0  # bytes written at once; 0 is all
        self.version = 100
        self._objects: dict[str, dict[str, dict[str, Any]]] = {}
        self._history: list[tuple[int, str, str, dict[str, Any]]] = []
        self._watchers: list[_Watcher] = []
        self._tls = tls
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._runner: web.ServerRunner | None = None
        self.port = port
        self.start()

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    def lists(self, path: str = PODS) -> list[Asked]:
        return [one for one in self.requests if one.path == path and one.is_list]

    def watches(self, path: str = PODS) -> list[Asked]:
        return [one for one in self.requests if one.path == path and one.is_watch]

    def watched(self, path: str = PODS) -> int:
        """How many watches are open."""
        return sum(one.path == path for one in self._watchers)

    # What happens; from the test's thread

    def start(self) -> None:
        async def start() -> int:
            self._runner = web.ServerRunner(web.Server(self._handle, handler_cancellation=True), shutdown_timeout=0.1)
            await self._runner.setup()
            site = web.TCPSite(self._runner, "127.0.0.1", self.port, ssl_context=self._tls)
            await site.start()
            return int(self._runner.addresses[0][1])

        self.port = self._call(start())

    def stop(self) -> None:
        """As an API server that is restarted; what it knows stays."""

        async def stop() -> None:
            for watcher in self._watchers:
                watcher.queue.put_nowait("cut")
            if self._runner is not None:
                await self._runner.cleanup()

        self._call(stop())

    def close(self) -> None:
        self.stop()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def put(self, path: str, item: dict[str, Any]) -> None:
        self._call(self._change(path, item, gone=False))

    def delete(self, path: str, item: dict[str, Any]) -> None:
        self._call(self._change(path, item, gone=True))

    def bookmark(self, path: str = PODS) -> None:
        self.version += 50
        item = {"metadata": {"resourceVersion": str(self.version)}}
        self.say(json.dumps({"type": "BOOKMARK", "object": item}).encode() + b"\n", path)

    def say(self, text: bytes, path: str = PODS) -> None:
        """In all watches."""
        self._call(self._tell(path, text))

    def end(self, how: str = "end", path: str = PODS) -> None:
        """All watches: "end" as when their time is over, "cut" the connection."""
        self._call(self._tell(path, how))

    # How

    def _call(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(10)

    async def _tell(self, path: str, what: bytes | str) -> None:
        for watcher in self._watchers:
            if watcher.path == path:
                watcher.queue.put_nowait(what)

    async def _change(self, path: str, item: dict[str, Any], *, gone: bool) -> None:
        self.version += 1
        metadata = {**item["metadata"], "resourceVersion": str(self.version)}
        item = {**item, "metadata": metadata}
        known = self._objects.setdefault(path, {})
        key = f"{metadata.get('namespace', '')}/{metadata['name']}"
        kind = "DELETED" if gone else "MODIFIED" if key in known else "ADDED"
        if gone:
            known.pop(key)
        else:
            known[key] = item
        self._history.append((self.version, path, kind, item))
        await self._tell(path, _event(kind, item))

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await request.read()
        asked = Asked(request.method, request.path, dict(request.query),
                      {key.lower(): value for key, value in request.headers.items()}, body)  # fmt: skip
        self.requests.append(asked)
        reply = self.answer(asked)
        if reply is None and self.tokens and asked.headers.get("authorization", "")[7:] not in self.tokens:
            reply = status(401, "Unauthorized", "who are you?")
        if reply is not None:
            if reply.hang:
                await asyncio.Event().wait()
            return web.Response(status=reply.status, body=reply.body, headers=reply.headers)
        if asked.method != "GET":
            return web.Response(body=body, content_type="application/json")
        return await self._watch(request, asked) if asked.is_watch else await self._list(request, asked)

    async def _list(self, request: web.BaseRequest, asked: Asked) -> web.StreamResponse:
        version = int(asked.query.get("resourceVersion") or 0)
        if version > self.version:
            return _refusal(status(504, "Timeout", f"Too large resource version: {version}, current: {self.version}"))
        items = [item for item in self._objects.get(asked.path, {}).values() if _selected(asked, item)]
        begin = int(asked.query.get("continue") or 0)
        metadata: dict[str, Any] = {"resourceVersion": str(self.version)}
        if self.page and begin + self.page < len(items):
            metadata["continue"] = str(begin + self.page)
        items = items[begin : begin + self.page] if self.page else items
        text = json.dumps({"kind": "List", "metadata": metadata, "items": [_shown(asked, item) for item in items]})
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        await self._write(response, text.encode())
        return response

    async def _watch(self, request: web.BaseRequest, asked: Asked) -> web.StreamResponse:
        version = int(asked.query["resourceVersion"])
        gone = status(410, "Expired", f"too old resource version: {version} ({self.forgotten})")
        if version < self.forgotten and not self.forgets_by_event:
            return _refusal(gone)
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        response.enable_chunked_encoding()
        await response.prepare(request)
        watcher = _Watcher(asked.path)
        if version < self.forgotten:
            await self._write(response, b'{"type":"ERROR","object":' + gone.body + b"}\n")
            return response
        for at, path, kind, item in self._history:
            if path == asked.path and at > version:
                watcher.queue.put_nowait(_event(kind, item))
        self._watchers.append(watcher)
        try:
            while True:
                what = await watcher.queue.get()
                if what == "end":
                    return response
                if what == "cut":
                    if request.transport is not None:
                        request.transport.abort()
                    return response
                assert isinstance(what, bytes)
                if _wanted(asked, what):
                    await self._write(response, what)
        except ConnectionResetError:  # the client has gone
            return response
        finally:
            self._watchers.remove(watcher)

    async def _write(self, response: web.StreamResponse, text: bytes) -> None:
        step = self.block or len(text)
        for begin in range(0, len(text), step):
            await response.write(text[begin : begin + step])


def status(code: int, reason: str, message: str, headers: dict[str, str] | None = None) -> Reply:
    body = {"kind": "Status", "code": code, "reason": reason, "message": message}
    return Reply(code, json.dumps(body).encode(), headers or {})


def item(name: str, namespace: str = "shop", uid: str = "", labels: dict[str, str] | None = None,
         owner: tuple[str, str, str] | None = None, **more: Any) -> dict[str, Any]:  # fmt: skip
    """Any object; `owner` is the controller's kind, name and uid."""
    metadata: dict[str, Any] = {"name": name, "uid": uid or f"uid-of-{name}", "labels": labels or {}}
    if namespace:
        metadata["namespace"] = namespace
    if owner is not None:
        kind, owner_name, owner_uid = owner
        metadata["ownerReferences"] = [{"kind": kind, "name": owner_name, "uid": owner_uid, "controller": True}]
    return {"metadata": metadata, **more}


def pod(name: str, *, node: str = "node-1", image: str = "localhost/shop:1", full_id: str = "", **more: Any) -> Any:
    """With one container, `main`; it runs when it has an id."""
    made = item(name, **more)
    made["spec"] = {"nodeName": node, "containers": [{"name": "main", "image": image}]}
    made["status"] = {"podIP": "10.1.0.7"}
    if full_id:
        made["status"]["containerStatuses"] = [
            {"name": "main", "image": image, "containerID": f"containerd://{full_id}"}
        ]
    return made


def kubeconfig(path: Path, server: str, user: dict[str, Any] | None = None, **cluster: Any) -> str:
    """Written to `path`; JSON is YAML."""
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": server, **cluster}}],
        "users": [{"name": "u", "user": user or {}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u", "namespace": "falco"}}],
        "current-context": "x",
    }
    path.write_text(json.dumps(config))
    return str(path)


def service_account(directory: Path, port: int, ca: str, token: str = "first") -> Access:
    """As kubelet mounts it into a pod."""
    directory.mkdir(exist_ok=True)
    (directory / "token").write_text(f"{token}\n")
    (directory / "namespace").write_text("falco")
    shutil.copy(ca, directory / "ca.crt")
    environ = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(port)}
    return Access(service_account=str(directory), environ=environ)


def _event(kind: str, item: dict[str, Any]) -> bytes:
    return json.dumps({"type": kind, "object": item}).encode() + b"\n"


def _refusal(reply: Reply) -> web.Response:
    return web.Response(status=reply.status, body=reply.body, content_type="application/json")


def _selected(asked: Asked, item: dict[str, Any]) -> bool:
    name, _, value = asked.query.get("fieldSelector", "").partition("=")
    found = {"": "", "spec.nodeName": item.get("spec", {}).get("nodeName"), "metadata.name": item["metadata"]["name"]}
    return bool(found[name] == value)


def _wanted(asked: Asked, line: bytes) -> bool:
    try:
        event = json.loads(line)
        return event["type"] not in ("ADDED", "MODIFIED", "DELETED") or _selected(asked, event["object"])
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return True


def _shown(asked: Asked, item: dict[str, Any]) -> dict[str, Any]:
    return {"metadata": item["metadata"]} if "PartialObjectMetadata" in asked.headers["accept"] else item
