# SPDX-License-Identifier: Apache-2.0
"""Cgroup paths of all runtimes name their container, and nothing else does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from falco_py.state.cgroups import Cgroups, match, pod_uid

if TYPE_CHECKING:
    from pathlib import Path

ID = "3ad7b26ded6d8e7b23da7d48fe889434573036c27ae5a74837233de441c3601e"
INNER = "f" * 64
POD = "12345678-90ab-cdef-1234-567890abcdef"
UNIT = POD.replace("-", "_")


@pytest.mark.parametrize(
    ("path", "engine", "pod"),
    [
        (f"/docker/{ID}", "docker", ""),
        (f"/system.slice/docker-{ID}.scope", "docker", ""),
        (f"/{ID}", "docker", ""),
        (f"/kubepods/besteffort/pod{POD}/{ID}", "cri", POD),
        (f"/kubepods/pod{'a' * 32}/{ID}", "cri", "a" * 32),
        (f"/k8s.io/{ID}", "cri", ""),
        (f"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{UNIT}.slice/cri-containerd-{ID}.scope",
         "containerd", POD),
        (f"/system.slice/containerd.service/kubepods-pod{UNIT}.slice:cri-containerd:{ID}", "containerd", POD),
        (f"/kubepods-besteffort-pod{UNIT}.slice/crio-{ID}.scope", "cri-o", POD),
        (f"/kubepods/pod{POD}/crio-{ID}", "cri-o", POD),
        (f"/kubepods.slice/kubepods-pod{UNIT}.slice/docker-{ID}.scope", "docker", POD),
        (f"/machine.slice/libpod-{ID}.scope", "podman", ""),
        (f"/machine.slice/libpod-{ID}.scope/container", "podman", ""),
        (f"/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{ID}.scope/container", "podman", ""),
        (f"/libpod_parent/libpod-{ID}", "podman", ""),
        (f"/machine.slice/libpod-payload-{ID}", "podman", ""),
        (f"/system.slice/nerdctl-{ID}.scope", "containerd", ""),
        (f"/docker/{ID}/init.scope", "docker", ""),
        (f"/docker/{ID}/system.slice/nginx.service", "docker", ""),
        (f"/system.slice/docker-{ID}.scope/a/b", "docker", ""),
        (f"/../cri-containerd-{ID}.scope", "containerd", ""),
    ],
)  # fmt: skip
def test_layout(path: str, engine: str, pod: str) -> None:
    found = match(path)
    assert found is not None
    assert (found.id, found.full_id, found.engine, found.pod_uid) == (ID[:12], ID, engine, pod)


@pytest.mark.parametrize(
    "path",
    [
        "/", "", "/user.slice/user-1000.slice/session-1.scope", "/system.slice/docker.service", f"/{ID[:63]}",
        f"/{ID}0", f"/{ID.upper()}", f"/docker/{ID[:-1]}g", "/process_api/" + "a" * 32, f"/crio-conmon-{ID}.scope",
        f"/machine.slice/libpod-conmon-{ID}.scope", "/kubepods/besteffort/pod" + POD, "/lxc.monitor.web",
        "/system.slice/bpm-agent.service", f"/docker-{ID}",
    ],
)  # fmt: skip
def test_host_path(path: str) -> None:
    assert match(path) is None


@pytest.mark.parametrize(
    ("path", "name", "engine"),
    [
        ("/lxc/web", "web", "lxc"), ("/lxc.payload/web", "web", "lxc"), ("/lxc.payload.web/init.scope", "web", "lxc"),
        ("/machine/web.libvirt-lxc", "web", "libvirt-lxc"), ("/libvirt/lxc/web", "web", "libvirt-lxc"),
        ("/bpm-job", "job", "bpm"),
    ],
)  # fmt: skip
def test_containers_with_names(path: str, name: str, engine: str) -> None:
    found = match(path)
    assert found is not None
    assert (found.full_id, found.engine) == (name, engine)


def test_the_inner_container_wins() -> None:
    found = match(f"/docker/{ID}/kubelet/kubepods/besteffort/pod{POD}/{INNER}")
    assert found is not None
    assert (found.full_id, found.pod_uid) == (INNER, POD)


def test_each_path_is_tried_until_one_tells(tmp_path: Path) -> None:
    pairs = (("cpu", "/"), ("memory", "/user.slice"), ("pids", f"/docker/{ID}"), ("", "/x"))
    found = Cgroups(tmp_path).resolve(pairs)
    assert found is not None
    assert found.full_id == ID
    assert Cgroups(tmp_path).resolve((("", "/"),)) is None


def bundle(root: Path, namespace: str, name: str) -> Path:
    made = root / "run/containerd/io.containerd.runtime.v2.task" / namespace / name / "config.json"
    made.parent.mkdir(parents=True)
    made.write_text("{}")
    return made


def test_any_name_is_a_container_while_its_bundle_exists(tmp_path: Path) -> None:
    cgroups = Cgroups(tmp_path)
    pairs = (("", "/shop/my-web-frontend"),)
    assert cgroups.resolve(pairs) is None
    made = bundle(tmp_path, "shop", "my-web-frontend")
    found = cgroups.resolve(pairs)
    assert found is not None
    assert (found.id, found.full_id, found.engine) == ("my-web-front", "my-web-frontend", "containerd")
    made.unlink()
    assert cgroups.resolve(pairs) is None


def test_a_container_is_still_known_when_its_bundle_is_gone(tmp_path: Path) -> None:
    bundle(tmp_path, "shop", "other")
    cgroups = Cgroups(tmp_path)
    found = cgroups.gone((("pids", "/"), ("", "/shop/web")))
    assert found is not None
    assert (found.full_id, found.engine) == ("web", "containerd")
    for path in ("/shop", "/shop/web/a", "/bar/web", "/shop/web.service", "/shop/..", "/../web", "//web"):
        assert cgroups.gone((("", path),)) is None, path


def test_plain_runc_container_is_known_by_its_state(tmp_path: Path) -> None:
    state = tmp_path / "run/runc/box1/state.json"
    state.parent.mkdir(parents=True)
    state.write_text("{}")
    for path in ("/box1", "/user.slice/box1", "/box1/child"):
        found = Cgroups(tmp_path).resolve((("pids", path),))
        assert found is not None
        assert (found.id, found.engine) == ("box1", "runc")
    assert Cgroups(tmp_path).resolve((("pids", "/box2"),)) is None


def test_names_cannot_walk_out_of_the_state_directories(tmp_path: Path) -> None:
    (tmp_path / "run/runc").mkdir(parents=True)
    (tmp_path / "run/state.json").write_text("{}")
    assert Cgroups(tmp_path).resolve((("", "/.."),)) is None


def test_cache_is_bounded(tmp_path: Path) -> None:
    cgroups = Cgroups(tmp_path, cache_max=10)
    for i in range(100):
        cgroups.resolve((("", f"/slice{i}"),))
    assert len(cgroups._cache) == 10


@pytest.mark.parametrize("text", [f"pod{POD}", f"kubepods-pod{UNIT}.slice", f"/a/pod{POD}/b"])
def test_pod_uid_is_given_with_dashes(text: str) -> None:
    assert pod_uid(text) == POD


@pytest.mark.parametrize("text", ["podman", f"/tripod{POD}", f"/pod{POD}0", "/pod123"])
def test_what_is_no_pod_uid(text: str) -> None:
    assert pod_uid(text) == ""


def test_a_path_that_has_long_been_the_hosts_is_seldom_looked_for(tmp_path: Path) -> None:
    now = [100.0]
    cgroups = Cgroups(tmp_path, clock=lambda: now[0])
    state = tmp_path / "run/runc/box1/state.json"

    def found() -> bool:
        return cgroups.resolve((("pids", "/box1"),)) is not None

    assert not found()
    state.parent.mkdir(parents=True)
    state.write_text("{}")
    assert found()  # a new path is looked for each time
    state.unlink()
    for _ in range(12):
        now[0] += 1.1
        assert not found()
    state.write_text("{}")
    now[0] += 0.5
    assert not found()
    now[0] += 1.0
    assert found()
