# SPDX-License-Identifier: Apache-2.0
"""One list and one watch a kind, and nothing is missed, whatever the API server and the network do."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from falco_py.kube import client as clients
from falco_py.kube.access import Access
from falco_py.kube.client import Client
from falco_py.kube.watch import Pace, Watch
from tests.kube.api import NAMESPACES, PODS, SERVICES, Api, Asked, Reply, item, kubeconfig, pod, status
from tests.outputs.items import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from concurrent.futures import Future
    from pathlib import Path

    from falco_py.background import Background

FAST = Pace(first=0.01, longest=0.05, slow=0.2, steady=0.3, watch_least=100, watch_most=100, silence=30)


class Sink:
    """`known` by name, as it would be after all that was told."""

    def __init__(self) -> None:
        self.known: dict[str, Any] = {}
        self.told: list[tuple[str, Any]] = []
        self.raises = False

    def replace(self, objects: Sequence[Any]) -> None:
        self._note("replace", sorted(one["metadata"]["name"] for one in objects))
        self.known = {one["metadata"]["name"]: one for one in objects}

    def put(self, item: Any) -> None:
        self._note("put", item["metadata"]["name"])
        self.known[item["metadata"]["name"]] = item

    def remove(self, item: Any) -> None:
        self._note("remove", item["metadata"]["name"])
        self.known.pop(item["metadata"]["name"], None)

    def _note(self, what: str, about: Any) -> None:
        self.told.append((what, about))
        if self.raises:
            raise ValueError("no room")

    @property
    def names(self) -> list[str]:
        return sorted(self.known)


class Watched:
    def __init__(self, background: Background, client: Client, path: str = PODS, **more: Any) -> None:
        self.sink = Sink()
        self.watch: Watch[Any] = Watch(client, path.rpartition("/")[2], path, self.sink, **{"pace": FAST, **more})
        self._future: Future[None] = background.start(self.watch.run())

    def end(self) -> None:
        self._future.cancel()


@pytest.fixture
def client(api: Api, background: Background, tmp_path: Path) -> Iterator[Client]:
    made = Client(Access(kubeconfig(tmp_path / "config", api.url)))
    yield made
    background.call(made.close(), 10)


@pytest.fixture
def watched(background: Background, client: Client) -> Iterator[Callable[..., Watched]]:
    made: list[Watched] = []

    def start(**more: Any) -> Watched:
        made.append(Watched(background, client, **more))
        return made[-1]

    yield start
    for one in made:
        one.end()


def settled(api: Api, one: Watched, path: str = PODS) -> None:
    until(lambda: one.watch.synced and one.watch.connected and api.watched(path))


def test_what_is_there_and_what_comes_and_goes_is_told(api: Api, watched: Callable[..., Watched]) -> None:
    api.put(PODS, pod("a"))
    one = watched()
    settled(api, one)

    api.put(PODS, pod("b"))
    api.put(PODS, pod("b", image="other:2"))
    api.delete(PODS, pod("a"))
    until(lambda: one.watch.events == 3)

    assert one.sink.told == [("replace", ["a"]), ("put", "b"), ("put", "b"), ("remove", "a")]
    assert one.sink.known["b"]["spec"]["containers"][0]["image"] == "other:2"
    assert (one.watch.lists, one.watch.watches, one.watch.failures, one.watch.problem) == (1, 1, {}, "")
    assert (len(api.lists()), len(api.watches())) == (1, 1)


def test_a_list_is_answered_from_the_cache_and_the_watch_goes_on_from_it(
    api: Api, watched: Callable[..., Watched]
) -> None:
    one = watched(params={"fieldSelector": "spec.nodeName=node-1"})
    settled(api, one)

    selector = {"fieldSelector": "spec.nodeName=node-1"}
    assert api.lists()[0].query == selector | {"resourceVersion": "0", "resourceVersionMatch": "NotOlderThan"}
    assert api.watches()[0].query == selector | {
        "watch": "1", "allowWatchBookmarks": "true", "resourceVersion": "100", "timeoutSeconds": "100"
    }  # fmt: skip


def test_only_what_is_selected_is_told(api: Api, watched: Callable[..., Watched]) -> None:
    api.put(PODS, pod("far", node="node-2"))
    api.put(PODS, pod("near"))
    one = watched(params={"fieldSelector": "spec.nodeName=node-1"})
    settled(api, one)
    api.put(PODS, pod("farther", node="node-2"))
    api.put(PODS, pod("nearer"))
    until(lambda: "nearer" in one.sink.known)

    assert one.sink.names == ["near", "nearer"]


def test_metadata_alone_is_asked_for(api: Api, watched: Callable[..., Watched]) -> None:
    api.put(NAMESPACES, item("shop", "", spec={"finalizers": ["kubernetes"]}))
    one = watched(path=NAMESPACES, metadata_only=True)
    settled(api, one, NAMESPACES)

    accepted = [asked.headers["accept"] for asked in api.requests]
    assert accepted == [
        f"application/json;as={form};g=meta.k8s.io;v=v1,application/json"
        for form in ("PartialObjectMetadataList", "PartialObjectMetadata")
    ]
    assert "spec" not in one.sink.known["shop"]


def test_a_server_that_pages_is_asked_for_all_pages(api: Api, watched: Callable[..., Watched]) -> None:
    api.page = 2
    for name in "abcde":
        api.put(PODS, pod(name))
    one = watched()
    settled(api, one)

    assert one.sink.told == [("replace", list("abcde"))]
    assert [asked.query.get("continue") for asked in api.lists()] == [None, "2", "4"]
    assert one.watch.lists == 1


def test_pieces_of_lines_are_put_together(api: Api, watched: Callable[..., Watched]) -> None:
    api.block = 7
    api.put(PODS, pod("a"))
    one = watched()
    settled(api, one)
    api.put(PODS, pod("ü"))
    api.put(PODS, pod("c"))
    until(lambda: one.watch.events == 2)

    assert one.sink.names == ["a", "c", "ü"]


def test_a_watch_that_ends_goes_on_without_a_list_from_where_it_was(api: Api, watched: Callable[..., Watched]) -> None:
    one = watched()
    settled(api, one)
    api.bookmark()
    api.put(PODS, pod("a"))
    until(lambda: one.watch.events == 1)
    version = str(api.version)
    api.end()
    until(lambda: len(api.watches()) == 2)
    settled(api, one)

    assert api.watches()[1].query["resourceVersion"] == version
    assert len(api.lists()) == 1


def test_bookmarks_move_the_version(api: Api, watched: Callable[..., Watched]) -> None:
    one = watched()
    settled(api, one)
    api.bookmark()
    version = str(api.version)
    api.end()
    until(lambda: len(api.watches()) == 2)

    assert api.watches()[1].query["resourceVersion"] == version
    assert one.watch.events == 0


def test_what_happens_while_the_server_is_away_is_told_when_it_is_back(
    api: Api, watched: Callable[..., Watched], lines: list[str]
) -> None:
    api.put(PODS, pod("a"))
    one = watched()
    settled(api, one)
    api.stop()
    until(lambda: len(lines) == 1)
    until(lambda: one.watch.failures["Unreachable"] > 8)
    assert not one.watch.connected
    assert one.sink.names == ["a"]
    assert "Unreachable" in one.watch.problem

    api.put(PODS, pod("b"))
    api.delete(PODS, pod("a"))
    api.start()
    until(lambda: one.sink.names == ["b"])
    until(lambda: len(lines) == 2)

    assert len(api.lists()) == 1
    assert one.watch.problem == ""
    assert lines[0].startswith("warning: kubernetes: pods cannot be watched: Unreachable: http://127.0.0.1")
    assert lines[1] == "notice: kubernetes: the API server answers again"


def test_a_server_that_is_away_is_told_once_for_all_kinds(
    api: Api, watched: Callable[..., Watched], lines: list[str]
) -> None:
    all_of_them = [watched(path=path) for path in (PODS, NAMESPACES, SERVICES)]
    for one in all_of_them:
        settled(api, one, one.watch.path)
    api.stop()
    for one in all_of_them:
        until(lambda one=one: one.watch.failures.get("Unreachable", 0) > 3)
    all_of_them.pop().end()
    api.start()
    until(lambda: len(lines) == 2)

    assert all(one.watch.connected for one in all_of_them)
    assert [line.partition(":")[0] for line in lines] == ["warning", "notice"]


@pytest.mark.parametrize("by_event", [True, False])
def test_a_version_that_is_forgotten_makes_a_list_and_what_is_gone_is_missing_in_it(
    by_event: bool, api: Api, watched: Callable[..., Watched], lines: list[str]
) -> None:
    api.put(PODS, pod("a"))
    one = watched()
    settled(api, one)
    api.forgets_by_event = by_event
    api.stop()
    api.put(PODS, pod("b"))
    api.delete(PODS, pod("a"))
    api.forgotten = api.version
    api.start()
    until(lambda: one.sink.names == ["b"])
    settled(api, one)

    assert one.sink.told == [("replace", ["a"]), ("replace", ["b"])]
    assert api.lists()[1].query["resourceVersion"] == "101"  # nothing older than what was seen
    assert one.watch.failures["Expired"] == 1
    assert not any("Expired" in line for line in lines)


def test_a_server_with_older_versions_than_seen_is_believed(api: Api, watched: Callable[..., Watched]) -> None:
    """etcd was restored from a backup."""
    api.put(PODS, pod("a"))
    one = watched()
    settled(api, one)
    api.bookmark()
    api.stop()
    api.version = 60
    api.answer = lambda asked: status(410, "Expired", "") if asked.query.get("resourceVersion") == "151" else None
    api.start()
    until(lambda: len(api.lists()) >= 3)
    settled(api, one)

    assert "resourceVersion" not in api.lists()[-1].query
    assert api.watches()[-1].query["resourceVersion"] == "60"


def test_half_a_line_is_not_taken(api: Api, watched: Callable[..., Watched]) -> None:
    one = watched()
    settled(api, one)
    api.say(b'{"type":"ADDED","object":{"metadata":{"name":"half","resourceVersion":"500"')
    api.end("cut")
    until(lambda: len(api.watches()) == 2)
    settled(api, one)

    assert one.sink.names == []
    assert api.watches()[1].query["resourceVersion"] == "100"
    assert len(api.lists()) == 1


@pytest.mark.parametrize("line", [b"<html>\n", b"[1]\n", b'{"a":\n', b"[" * 100_000 + b"\n", b"\xff\xfe\n"])
def test_a_line_that_is_no_event_makes_a_list(line: bytes, api: Api, watched: Callable[..., Watched]) -> None:
    one = watched()
    settled(api, one)
    api.say(line)
    until(lambda: len(api.lists()) == 2)
    settled(api, one)

    assert one.watch.failures == {"Malformed": 1}


@pytest.mark.parametrize(
    "event",
    [{}, {"type": 1, "object": {}}, {"type": "ADDED"}, {"type": "ADDED", "object": []}, {"type": "NEWS", "object": {}},
     {"type": "DELETED", "object": "x"}],
)  # fmt: skip
def test_an_event_of_a_strange_shape_is_counted_and_passed_over(
    event: Any, api: Api, watched: Callable[..., Watched]
) -> None:
    one = watched()
    settled(api, one)
    api.say(json.dumps(event).encode() + b"\n")
    api.put(PODS, pod("a"))
    until(lambda: one.sink.names == ["a"])

    assert one.watch.unreadable == 1
    assert (len(api.lists()), len(api.watches())) == (1, 1)


def test_a_line_without_end_is_not_held(
    api: Api, watched: Callable[..., Watched], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clients, "ITEM_MAX", 100_000)
    one = watched()
    settled(api, one)
    for _ in range(11):
        api.say(b"x" * 10_000)
    until(lambda: one.watch.failures.get("TooLarge"))
    settled(api, one)

    assert one.watch.failures == {"TooLarge": 1}


def test_an_object_that_cannot_be_read_does_not_hide_the_others(
    api: Api, watched: Callable[..., Watched], lines: list[str]
) -> None:
    def read(found: dict[str, Any]) -> dict[str, Any] | None:
        if found["metadata"]["name"] == "none":
            return None
        if found["metadata"]["name"] == "bad":
            raise KeyError("spec")
        return found

    for name in ("a", "bad", "none", "z"):
        api.put(PODS, pod(name))
    one = watched(read=read)
    settled(api, one)
    api.put(PODS, pod("bad", image="x"))
    api.put(PODS, pod("good"))
    until(lambda: "good" in one.sink.known)

    assert one.sink.names == ["a", "good", "z"]
    assert (one.watch.unreadable, one.watch.failures) == (3, {"Defect": 2})
    assert lines == ["error: kubernetes: pods: KeyError: 'spec'; it goes on"]


def test_a_sink_that_fails_is_told_the_rest(api: Api, watched: Callable[..., Watched], lines: list[str]) -> None:
    one = watched()
    settled(api, one)
    one.sink.raises = True
    api.put(PODS, pod("a"))
    until(lambda: one.watch.failures.get("Defect"))
    one.sink.raises = False
    api.put(PODS, pod("b"))
    until(lambda: one.sink.names == ["b"])

    assert (len(api.lists()), len(api.watches())) == (1, 1)
    assert lines == ["error: kubernetes: pods: ValueError: no room; it goes on"]


def test_silence_ends_a_watch(api: Api, watched: Callable[..., Watched]) -> None:
    one = watched(pace=FAST._replace(watch_least=0.1, watch_most=0.1, silence=0.2))
    until(lambda: len(api.watches()) >= 3)

    assert one.watch.failures["Timeout"] >= 2
    assert len(api.lists()) == 1


def test_a_server_that_never_answers_is_given_up(api: Api, watched: Callable[..., Watched], client: Client) -> None:
    client.timeout_s = 0.1
    api.answer = lambda asked: Reply(hang=True)
    one = watched()
    until(lambda: one.watch.failures.get("Timeout", 0) >= 2)
    api.answer = lambda asked: None
    settled(api, one)


def test_a_watch_that_ends_at_once_is_not_asked_for_without_a_pause(api: Api, watched: Callable[..., Watched]) -> None:
    api.answer = lambda asked: Reply(body=b"") if asked.is_watch else None
    began_s = time.monotonic()
    one = watched(pace=FAST._replace(first=0.2, longest=0.2))
    until(lambda: len(api.watches()) >= 8)

    assert time.monotonic() - began_s > 0.2  # 8 pauses of 0.1 s each in the mean
    assert one.watch.failures["Closed"] >= 7
    assert len(api.lists()) == 1


def test_a_right_that_is_missing_is_told_once_and_asked_for_seldom(
    api: Api, watched: Callable[..., Watched], lines: list[str]
) -> None:
    said = 'pods is forbidden: User "system:serviceaccount:falco:falco" cannot list resource "pods"'
    times: list[float] = []

    def answer(asked: Asked) -> Reply | None:
        times.append(time.monotonic())
        return status(403, "Forbidden", said)

    api.answer = answer
    one = watched()
    until(lambda: len(times) == 8)

    assert times[7] - times[6] >= FAST.slow > FAST.longest
    assert one.watch.hopeless
    assert len(lines) == 1
    assert lines[0].startswith(f"warning: kubernetes: pods cannot be watched: 403 Forbidden: {said}; nothing is known")
    assert lines[0].endswith("; its service account needs list and watch of pods")

    api.answer = lambda asked: None
    settled(api, one)
    until(lambda: len(lines) == 2)
    assert lines[1] == "notice: kubernetes: pods are watched now"
    assert not one.watch.hopeless


@pytest.mark.parametrize(("code", "reason"), [(500, "InternalError"), (503, "ServiceUnavailable"), (404, "NotFound")])
def test_an_answer_that_is_none_is_tried_again(
    code: int, reason: str, api: Api, watched: Callable[..., Watched]
) -> None:
    api.answer = lambda asked: status(code, reason, "later")
    one = watched()
    until(lambda: one.watch.failures.get(reason, 0) >= 3)
    api.answer = lambda asked: None
    settled(api, one)


@pytest.mark.parametrize("code", [429, 503])
def test_a_server_that_wants_a_pause_gets_it(code: int, api: Api, watched: Callable[..., Watched]) -> None:
    times: list[float] = []

    def answer(asked: Asked) -> Reply | None:
        times.append(time.monotonic())
        return status(code, "TooManyRequests", "slow", {"Retry-After": "1"}) if len(times) == 1 else None

    api.answer = answer
    one = watched()
    settled(api, one)

    assert times[1] - times[0] >= 1.0


def test_an_error_within_a_watch_that_is_no_overload_makes_a_list(api: Api, watched: Callable[..., Watched]) -> None:
    one = watched()
    settled(api, one)
    api.say(b'{"type":"ERROR","object":' + status(500, "InternalError", "x").body + b"}\n")
    until(lambda: len(api.watches()) == 2)
    settled(api, one)
    assert len(api.lists()) == 1

    api.say(b'{"type":"ERROR","object":{"code":"?"}}\n')
    until(lambda: len(api.lists()) == 2)


def test_html_with_status_200_is_no_list(api: Api, watched: Callable[..., Watched]) -> None:
    """Of a proxy that wants somebody to log in."""
    api.answer = lambda asked: Reply(body=b"<html>who are you?</html>")
    one = watched()
    until(lambda: one.watch.failures.get("Malformed", 0) >= 2)
    assert not one.watch.synced
    api.answer = lambda asked: None
    settled(api, one)
