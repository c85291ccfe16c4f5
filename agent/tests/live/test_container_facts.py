# SPDX-License-Identifier: Apache-2.0
"""What the first process of a real container does is told with the container's name, image and rights."""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.live.harness import Agent, marker
from tests.live.runc_container import Container
from tests.live.store_containers import IMAGE, TAG, Containerd, Podman

if TYPE_CHECKING:
    from collections.abc import Iterator

FACTS = (
    "container.id", "container.full_id", "container.name", "container.type", "container.image",
    "container.image.repository", "container.image.tag", "container.image.digest", "container.image.id",
    "container.privileged", "container.mounts", "container.labels", "container.host_pid", "container.host_network",
    "k8s.pod.name", "k8s.ns.name", "k8s.pod.uid",
)  # fmt: skip
FILE = "fpymarked"
READ = f"evt.type in (open, openat, openat2) and evt.is_open_read = true and fd.filename = {FILE}"
RULES = f"""\
- rule: Marked file
  desc: A file that only these tests read.
  condition: {READ}
  output: marked file | command=%proc.cmdline {" ".join(f"{name}=%{name}" for name in FACTS)}
  priority: WARNING
- rule: Marked file in another image
  desc: As above, with a fact of the container that the kernel learns.
  condition: {READ} and container.id != host and not container.image.repository = {IMAGE}
  output: another image | command=%proc.cmdline
  priority: WARNING
"""


@contextmanager
def agent(scratch: Path, before: tuple[str, ...] = (), options: tuple[str, ...] = ()) -> Iterator[Agent]:
    rules = scratch / "rules.yaml"
    rules.write_text(RULES, encoding="utf-8")
    running = Agent([rules], scratch / "agent", ("-o", "rule_matching=all", *options), before=before)
    try:
        yield running.start()
    finally:
        running.stop()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A directory for containers, with the file."""
    made = tmp_path / "data"
    made.mkdir()
    (made / FILE).write_text("x\n", encoding="utf-8")
    return made


def known(told: Agent, mark: str) -> dict[str, Any]:
    return told.expect("Marked file", mark).fields


def first_process(mark: str) -> list[str]:
    return ["/bin/sh", "-c", f": {mark}; read x </data/{FILE}"]


def staying(mark: str) -> list[str]:
    """The same in a container that is still there when the agent gets to it, however busy the machine is."""
    *shell, script = first_process(mark)
    return [*shell, f"{script}; sleep 1000000"]


@pytest.fixture
def podman(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Podman]:
    made = Podman(tmp_path_factory.mktemp("pod"))  # short: podman takes no more than 50 characters
    try:
        yield made.start()
    finally:
        made.stop()


def test_podman(tmp_path: Path, data: Path, podman: Podman) -> None:
    one, two = marker(), marker()
    with agent(tmp_path) as told:
        podman.start_one("web1", staying(one), f"--volume={data}:/data:ro", "--label=team=shop")
        podman.start_one("web2", staying(two), f"--volume={data}:/data", "--privileged", "--pid=host")
        facts = known(told, one)
        assert facts["container.name"] == "web1"
        assert facts["container.type"] == "podman"
        assert (facts["container.image"], facts["container.image.repository"]) == (f"{IMAGE}:{TAG}", IMAGE)
        assert facts["container.image.tag"] == TAG
        assert facts["container.image.digest"].startswith("sha256:")
        assert len(facts["container.image.id"]) == len(facts["container.full_id"]) == 64
        assert facts["container.id"] == facts["container.full_id"][:12]
        assert facts["container.privileged"] is False
        assert (facts["container.host_pid"], facts["container.host_network"]) == (False, False)
        assert f"{data}:/data::false:private" in facts["container.mounts"]
        assert facts["container.labels"] == "team:shop"
        facts = known(told, two)
        assert (facts["container.name"], facts["container.privileged"], facts["container.host_pid"]) == (
            "web2",
            True,
            True,
        )
        told.expect_none(one, rule="Marked file in another image")


def test_a_container_that_was_there_before_the_agent(tmp_path: Path, data: Path, podman: Podman) -> None:
    mark = marker()
    wait = f"while [ ! -e /data/go ]; do sleep 0.1; done; read x </data/{FILE}; sleep 100"
    podman.start_one("early", ["/bin/sh", "-c", f": {mark}; {wait}"], f"--volume={data}:/data:ro")
    with agent(tmp_path) as told:
        (data / "go").touch()
        facts = known(told, mark)
        assert (facts["container.name"], facts["container.image"]) == ("early", f"{IMAGE}:{TAG}")
        told.expect_none(mark, rule="Marked file in another image")


def test_containerd(tmp_path: Path, data: Path) -> None:
    one, two = marker(), marker()
    (tmp_path / "containerd").mkdir()
    containerd = Containerd(tmp_path / "containerd")
    mount = ["--mount", f"type=bind,src={data},dst=/data,options=rbind:ro"]
    try:
        containerd.start()
        with agent(tmp_path, tuple(containerd.enter)) as told:
            containerd.start_one("web1", staying(one), *mount, "--label=team=shop")
            pod = [
                word
                for key, value in (
                    ("container-type", "container"), ("container-name", "app"), ("image-name", f"{IMAGE}:{TAG}"),
                    ("sandbox-name", "web-0"), ("sandbox-namespace", "shop"), ("sandbox-id", "5" * 64),
                    ("sandbox-uid", "a781dab0-755f-455a-aac6-b7e26c0947dc"),
                )
                for word in ("--annotation", f"io.kubernetes.cri.{key}={value}")
            ]  # fmt: skip
            containerd.start_one("web2", staying(two), *mount, *pod, "--privileged")
            facts = known(told, one)
            assert (facts["container.name"], facts["container.id"], facts["container.type"]) == (
                "web1",
                "web1",
                "containerd",
            )
            assert (facts["container.image.repository"], facts["container.image.tag"]) == (IMAGE, TAG)
            assert facts["container.image.digest"].startswith("sha256:")
            assert len(facts["container.image.id"]) == 64
            assert (facts["container.privileged"], facts["container.labels"]) == (False, "team:shop")
            facts = known(told, two)
            assert (facts["container.name"], facts["container.privileged"]) == ("app", True)
            assert (facts["k8s.pod.name"], facts["k8s.ns.name"]) == ("web-0", "shop")
            assert facts["k8s.pod.uid"] == "a781dab0-755f-455a-aac6-b7e26c0947dc"
            with told.held():
                containerd.run("web3", first_process(late := marker()), *mount)
            assert known(told, late)["container.id"] == "web3"
    finally:
        containerd.stop()


def test_runc_alone(tmp_path: Path, mark: str) -> None:
    """Nobody but runc knows it: it has no image."""
    (tmp_path / "runc").mkdir()
    shell = f"echo x >/tmp/{FILE}; : {mark}; read x </tmp/{FILE}; sleep 1000000"
    container = Container(tmp_path / "runc", command=("/bin/sh", "-c", shell))
    try:
        with agent(tmp_path) as told:
            container.start()
            facts = known(told, mark)
            assert facts["container.id"] == container.id
            assert facts["container.name"] == container.full_id
            assert (facts["container.privileged"], facts["container.host_network"]) == (False, False)
            assert facts["container.image"] is None
            told.expect("Marked file in another image", mark)
    finally:
        container.stop()


def test_a_container_whose_files_nobody_finds(tmp_path: Path, mark: str) -> None:
    (tmp_path / "runc").mkdir()
    container = Container(tmp_path / "runc", state=tmp_path / "state")
    try:
        container.start()
        with agent(tmp_path) as told:
            container.exec("sh", "-c", f"echo x >/tmp/{FILE}; cat /tmp/{FILE} /tmp/{mark}")
            facts = known(told, mark)
            assert (facts["container.id"], facts["container.name"]) == (container.id, None)
            assert facts["container.missing"] == "no files of a container runtime name it"
            told.expect("Marked file in another image", mark)
    finally:
        container.stop()


def copied_file(source: str, target: str) -> None:
    """Not what runc has beside files."""
    if Path(source).is_file():
        shutil.copy2(source, target)


def test_an_event_waits_for_files_that_are_late(tmp_path: Path, mark: str) -> None:
    (tmp_path / "runc").mkdir()
    container = Container(tmp_path / "runc", state=tmp_path / "state")
    late = Path("/run/runc") / container.full_id
    with agent(tmp_path, options=("-o", "engine.falco_py.facts_wait_ms=30000")) as told:
        try:
            container.start()
            container.exec("sh", "-c", f"echo x >/tmp/{FILE}; cat /tmp/{FILE} /tmp/{mark}")
            told.expect_none(mark)
            shutil.copytree(tmp_path / "state" / container.full_id, late, copy_function=copied_file)
            facts = told.expect("Marked file", mark, timeout_s=40.0).fields
            assert (facts["container.name"], facts["container.privileged"]) == (container.full_id, False)
            assert "container.missing" not in facts
            assert told.expect("Marked file in another image", mark)
        finally:
            shutil.rmtree(late, ignore_errors=True)
            container.stop()
