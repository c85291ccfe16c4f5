# SPDX-License-Identifier: Apache-2.0
"""A ConfigMap of a small API server becomes rules files."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from falco_py.background import Background
from falco_py.config.problem import SettingError
from falco_py.kube.access import Access
from falco_py.kube.client import Client
from falco_py.kube.rules import MAX_BYTES, RulesMap, namespace_and_name
from tests.kube.configmaps import NAME, NAMESPACE, ApiServer
from tests.outputs.items import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


class Watched:
    """A RulesMap that runs; `changes` counts calls of `changed`, which were all in one thread."""

    def __init__(self, server: ApiServer, kubeconfig: Path, stack: ExitStack) -> None:
        self.changes = 0
        self.threads: set[str] = set()
        background = Background()
        stack.callback(background.close)
        client = Client(Access(str(kubeconfig)))
        stack.callback(lambda: background.call(client.close(), 10))
        self.rules = RulesMap(client, NAMESPACE, NAME, self._changed)
        future = background.start(self.rules.watch.run())
        stack.callback(future.cancel)
        until(lambda: self.rules.connected)

    def _changed(self) -> None:
        self.changes += 1
        self.threads.add(threading.current_thread().name)

    def texts(self) -> dict[str, str] | None:
        found = self.rules.overlay()
        return None if found is None else dict(found)


@pytest.fixture
def server() -> Iterator[ApiServer]:
    made = ApiServer().start()
    yield made
    made.stop()


@pytest.fixture
def watch(server: ApiServer, tmp_path: Path) -> Iterator[Callable[[], Watched]]:
    with ExitStack() as stack:
        yield lambda: Watched(server, server.kubeconfig(tmp_path / "kubeconfig"), stack)


def test_what_is_there_and_what_changes_is_known(server: ApiServer, watch: Callable[[], Watched]) -> None:
    server.put({"a.yaml": "one\n", "b.yml": "two\n", "notes.txt": "no rules"})
    watched = watch()
    assert watched.texts() == {"a.yaml": "one\n", "b.yml": "two\n"}
    assert watched.rules.version is not None
    assert (watched.rules.version.uid, watched.rules.version.resource_version) == (f"uid-{NAME}", "101")
    server.put({"a.yaml": "other\n"})
    until(lambda: watched.texts() == {"a.yaml": "other\n"})
    assert watched.rules.version.resource_version == "102"
    assert (watched.changes, watched.threads) == (2, {"network"})


def test_one_configmap_is_asked_for_and_no_other_counts(server: ApiServer, watch: Callable[[], Watched]) -> None:
    server.put({"a.yaml": "mine\n"})
    server.put({"a.yaml": "another\n"}, name="other")
    watched = watch()
    server.put({"a.yaml": "another still\n"}, name="other")
    server.put({"a.yaml": "mine still\n"})
    until(lambda: watched.texts() == {"a.yaml": "mine still\n"})
    assert all(query["fieldSelector"] == f"metadata.name={NAME}" for _, _, query in server.requests)
    watched.rules.put({"metadata": {"name": "other", "namespace": NAMESPACE}, "data": {"a.yaml": "no"}})
    watched.rules.remove({"metadata": {"name": NAME, "namespace": "other"}})
    assert watched.texts() == {"a.yaml": "mine still\n"}


def test_a_change_of_other_things_is_no_change_of_rules(server: ApiServer, watch: Callable[[], Watched]) -> None:
    server.put({"a.yaml": "one\n"})
    watched = watch()
    before = watched.rules.overlay()
    server.put({"a.yaml": "one\n"}, immutable=False)
    until(lambda: watched.rules.version and watched.rules.version.resource_version == "102")
    assert watched.rules.overlay() is before
    assert watched.changes == 1


def test_a_configmap_without_data_is_known_to_be_empty(server: ApiServer, watch: Callable[[], Watched]) -> None:
    server.put(None, binaryData={"a.yaml": "b25l"})
    assert watch().texts() == {}


def test_a_deleted_one_is_not_known_and_that_is_told(
    server: ApiServer, watch: Callable[[], Watched], logged: Callable[[], str]
) -> None:
    server.put({"a.yaml": "one\n"})
    watched = watch()
    server.delete()
    until(lambda: watched.changes == 2)
    assert watched.rules.version is None
    assert watched.texts() is None
    assert f"ConfigMap {NAMESPACE}/{NAME} was deleted; rules are taken from where it is mounted" in logged()
    server.put({"a.yaml": "two\n"})
    until(lambda: watched.texts() == {"a.yaml": "two\n"})


def test_one_that_is_not_there_yet_is_awaited(
    server: ApiServer, watch: Callable[[], Watched], logged: Callable[[], str]
) -> None:
    watched = watch()
    assert watched.texts() is None
    assert watched.changes == 0
    assert logged().count(f"ConfigMap {NAMESPACE}/{NAME} is not there; rules are taken from") == 1
    server.put({"a.yaml": "one\n"})
    until(lambda: watched.texts() == {"a.yaml": "one\n"})


STRANGE = ["../a.yaml", "a/b.yaml", "/etc/a.yaml", ".hidden.yaml", "..data.yaml", "a\nb.yaml", "ä.yaml", ".yaml"]


@pytest.mark.parametrize("name", STRANGE)
def test_names_that_are_none_of_a_rules_file_are_ignored(
    name: str, watch: Callable[[], Watched], logged: Callable[[], str]
) -> None:
    watched = watch()
    watched.rules.put(_object({name: "no", "good.yaml": "yes"}))
    assert watched.texts() == {"good.yaml": "yes"}
    assert "has keys that are no names of rules files, ignored: " in logged()


def test_what_is_too_large_changes_nothing(watch: Callable[[], Watched], logged: Callable[[], str]) -> None:
    watched = watch()
    watched.rules.put(_object({"a.yaml": "x" * (MAX_BYTES // 2), "b.yaml": "ä" * (MAX_BYTES // 4)}))
    before = watched.texts()
    assert before is not None
    watched.rules.put(_object({"a.yaml": "x" * (MAX_BYTES // 2), "b.yaml": "ä" * (MAX_BYTES // 4) + "x"}))
    assert watched.texts() == before
    assert f"is larger than {MAX_BYTES} bytes; it is not used" in logged()


def test_texts_can_be_written_as_utf_8_whatever_came(watch: Callable[[], Watched]) -> None:
    watched = watch()
    watched.rules.put(_object({"a.yaml": "x \ud800 ä", "b.yaml": 7}))
    assert watched.texts() == {"a.yaml": "x ? ä"}


def _object(data: dict[str, Any]) -> dict[str, Any]:
    return {"metadata": {"name": NAME, "namespace": NAMESPACE, "uid": "u", "resourceVersion": "9"}, "data": data}


def test_a_name_alone_is_in_the_namespace_of_the_pod(tmp_path: Path) -> None:
    file = tmp_path / "namespace"
    file.write_text("security\n")
    assert namespace_and_name("falco/falco-rules", str(file)) == ("falco", "falco-rules")
    assert namespace_and_name("falco-rules", str(file)) == ("security", "falco-rules")
    with pytest.raises(SettingError, match="write NAMESPACE/falco-rules"):
        namespace_and_name("falco-rules", str(tmp_path / "missing"))
