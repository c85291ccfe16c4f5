# SPDX-License-Identifier: Apache-2.0
"""Each runtime's own files give the facts of its containers."""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from falco_py.enrich.containerd import _unpacked
from falco_py.enrich.facts import Facts, Mount
from falco_py.enrich.runtimes import Runtimes
from falco_py.enrich.spec import is_privileged
from tests.enrich.hosts import CONTAINERD_ROOT, ID, SAMPLES, STORE, TASKS, database, needs_samples, put, ref, sample

if TYPE_CHECKING:
    from pathlib import Path

IMAGE_ID = "9f9f60c4413cf18262a24fdbee0e14615b744f4fe8d220750b6a20a9a7b99cdc"
PODMAN_ID = "3976736735e7590eeddfcaf5e58325a5525cdaf0cdd8749c747f5a40d093bffa"
SANDBOX = "5b8a42e15552b47b417ba5e323f791ce89d3e124f273462f721e12a599138283"
POD = "a781dab0-755f-455a-aac6-b7e26c0947dc"
SPEC: dict[str, Any] = {
    "process": {"capabilities": {"bounding": ["CAP_KILL"]}},
    "linux": {"namespaces": [{"type": "pid"}]},
}


def whole(root: Path, *of: Any, **named: Any) -> Facts:
    runtimes = Runtimes(root)
    facts, complete = runtimes.find(ref(*of, **named))
    assert facts is not None
    assert complete
    assert not any(runtimes.failures.values()), runtimes.failures
    return facts


@needs_samples
@pytest.mark.parametrize("engine", ["cri", "containerd", "docker", "cri-o"])
def test_a_container_of_a_pod_is_told_by_its_bundle(tmp_path: Path, engine: str) -> None:
    put(tmp_path, f"{TASKS}/k8s.io/{ID}/config.json", sample("cri-container-config.json"))
    facts = whole(tmp_path, engine)
    assert (facts.name, facts.type) == ("app", "containerd")
    assert (facts.image, facts.image_repository, facts.image_tag) == (
        "registry.test/busybox:1", "registry.test/busybox", "1",
    )  # fmt: skip
    assert (facts.pod_name, facts.pod_namespace, facts.pod_uid) == ("web-0", "shop", POD)
    assert facts.pod_sandbox_id == SANDBOX
    assert facts.privileged is False
    assert facts.mounts == ()
    assert (facts.host_pid, facts.host_network) == (False, None)  # the sandbox's process is not there to be asked
    assert facts.labels["io.kubernetes.container.name"] == "app"


@needs_samples
def test_mounts_of_a_pod_are_those_that_it_asked_for(tmp_path: Path) -> None:
    put(tmp_path, f"{TASKS}/k8s.io/{ID}/config.json", sample("cri-pod-container-config.json"))
    mounts = whole(tmp_path).mounts or ()
    assert [(mount.destination, mount.rdwr, mount.propagation) for mount in mounts] == [
        ("/cm", False, "private"), ("/etc/hosts", True, "private"), ("/dev/termination-log", True, "private"),
        ("/var/run/secrets/kubernetes.io/serviceaccount", False, "private"),
    ]  # fmt: skip


@needs_samples
def test_a_sandbox_has_the_name_of_its_pod(tmp_path: Path) -> None:
    put(tmp_path, f"{TASKS}/k8s.io/{SANDBOX}/config.json", sample("cri-sandbox-config.json"))
    result = {"result": {"ips": [{"address": "10.1.2.3/24"}]}}
    put(tmp_path, f"var/lib/cni/results/pods-{SANDBOX}-eth0", result)
    facts = whole(tmp_path, full_id=SANDBOX)
    assert (facts.name, facts.pod_name, facts.image) == ("web-0", "web-0", "")
    assert facts.ip == facts.pod_ip == "10.1.2.3"


@needs_samples
def test_a_privileged_container_is_known_by_its_rights_and_devices() -> None:
    spec = sample("cri-privileged-tty-config.json")
    assert is_privileged(spec)
    spec["linux"]["resources"]["devices"] = [{"allow": False, "access": "rwm"}]
    spec["linux"]["maskedPaths"] = ["/proc/kcore"]
    assert not is_privileged(spec)  # capabilities: ALL
    without_devices = {key: value for key, value in spec["linux"].items() if key != "maskedPaths"}
    assert is_privileged({**spec, "linux": without_devices})  # privileged_without_host_devices


def test_containerds_database_has_labels_and_digests(tmp_path: Path) -> None:
    put(tmp_path, f"{TASKS}/shop/web1/config.json", SPEC)
    config, manifest, index = "a" * 64, "b" * 64, "d" * 64
    blobs = f"{CONTAINERD_ROOT}/io.containerd.content.v1.content/blobs/sha256"
    platforms = [
        {"digest": f"sha256:{manifest}", "platform": {"os": "linux", "architecture": one}} for one in ("amd64", "arm64")
    ]
    put(
        tmp_path, f"{blobs}/{index}", {"manifests": [{"digest": "sha256:x", "platform": {"os": "windows"}}, *platforms]}
    )
    put(tmp_path, f"{blobs}/{manifest}", {"config": {"digest": f"sha256:{config}"}})
    tree = {"v1": {"shop": {
        "containers": {"web1": {"image": b"example.org/web:2", "labels": {"team": b"shop", "io.containerd.x": b"y"}}},
        "images": {"example.org/web:2": {"target": {"digest": f"sha256:{index}".encode()}}},
    }}}  # fmt: skip
    put(tmp_path, f"{CONTAINERD_ROOT}/io.containerd.metadata.v1.bolt/meta.db", database(tree))
    facts = whole(tmp_path, "containerd", "web1")
    assert (facts.name, facts.image, facts.image_repository, facts.image_tag) == (
        "web1", "example.org/web:2", "example.org/web", "2",
    )  # fmt: skip
    assert (facts.image_digest, facts.image_id) == (f"sha256:{index}", config)
    assert facts.labels == {"team": "shop"}


def packed(spec: Any, kind: bytes = b"types.containerd.io/opencontainers/runtime-spec/1/Spec") -> bytes:
    """As a google.protobuf.Any."""
    text = json.dumps(spec).encode()
    varint = bytes([len(text) & 0x7F | 0x80, len(text) >> 7 & 0x7F | 0x80, len(text) >> 14])
    return b"\x0a" + bytes([len(kind)]) + kind + b"\x12" + varint + text


@needs_samples
def test_a_container_that_has_ended_is_told_by_the_database(tmp_path: Path) -> None:
    (tmp_path / TASKS / "k8s.io").mkdir(parents=True)
    container = {"image": b"i", "labels": {}, "spec": packed(sample("cri-container-config.json"))}
    tree = {"v1": {"k8s.io": {"containers": {ID: container, SANDBOX: {"labels": {"app": b"web"}}}}}}
    put(tmp_path, f"{CONTAINERD_ROOT}/io.containerd.metadata.v1.bolt/meta.db", database(tree))
    facts = whole(tmp_path)
    assert (facts.name, facts.image, facts.pod_name, facts.pod_namespace, facts.pod_labels) == (
        "app", "registry.test/busybox:1", "web-0", "shop", {"app": "web"},
    )  # fmt: skip
    assert Runtimes(tmp_path).find(ref(full_id="e" * 64)) == (None, False)


@given(st.binary(max_size=40) | st.binary(max_size=20).map(lambda raw: packed({})[:60] + raw))
def test_whatever_stands_there_is_a_value_or_nothing(raw: bytes) -> None:
    assert _unpacked(raw) in (raw, b"") or _unpacked(raw) in raw


@needs_samples
def test_labels_of_a_pod_are_its_sandboxs(tmp_path: Path) -> None:
    put(tmp_path, f"{TASKS}/k8s.io/{ID}/config.json", sample("cri-container-config.json"))
    tree = {"v1": {"k8s.io": {"containers": {
        ID: {"image": b"i", "labels": {"io.kubernetes.pod.name": b"web-0"}}, SANDBOX: {"labels": {"app": b"web"}},
    }}}}  # fmt: skip
    put(tmp_path, f"{CONTAINERD_ROOT}/io.containerd.metadata.v1.bolt/meta.db", database(tree))
    facts = whole(tmp_path)
    assert facts.pod_labels == {"app": "web"}
    assert facts.image == "registry.test/busybox:1"


@needs_samples
def test_docker(tmp_path: Path) -> None:
    config = sample("docker-config.v2.json")
    full_id = config["ID"]
    here = f"var/lib/docker/containers/{full_id}"
    put(tmp_path, f"{here}/config.v2.json", config)
    put(tmp_path, f"{here}/hostconfig.json", sample("docker-hostconfig.json"))
    repository = "registry.test/busybox"
    names = {f"{repository}:1": config["Image"], f"{repository}@sha256:{'e' * 64}": config["Image"]}
    put(tmp_path, "var/lib/docker/image/overlay2/repositories.json", {"Repositories": {repository: names}})
    facts = whole(tmp_path, "docker", full_id)
    assert (facts.name, facts.type, facts.image) == ("web", "docker", "registry.test/busybox:1")
    assert facts.image_id == "923bbe77f3c3a2732fd726429992d989894ecb857963a2555289c6954873880e"
    assert facts.image_digest == f"sha256:{'e' * 64}"
    assert facts.mounts == (Mount("/srv/data", "/s", "ro", False, "rprivate"),)
    assert (facts.privileged, facts.host_pid, facts.host_network, facts.ip) == (True, False, False, "172.17.0.2")
    config["Config"]["Image"] = config["Image"]
    put(tmp_path, f"{here}/config.v2.json", config)
    assert whole(tmp_path, "docker", full_id).image == "registry.test/busybox:1"
    config["Config"]["Image"] = "nginx"
    put(tmp_path, f"{here}/config.v2.json", config)
    assert whole(tmp_path, "docker", full_id).image_tag == "latest"


@needs_samples
def test_docker_is_asked_again_until_the_container_runs(tmp_path: Path) -> None:
    config = sample("docker-config.v2.json")
    config["State"]["Running"] = False
    put(tmp_path, f"var/lib/docker/containers/{ID}/config.v2.json", config)
    facts, complete = Runtimes(tmp_path).find(ref("docker"))
    assert facts is not None
    assert (facts.name, facts.privileged, complete) == ("web", None, False)


@needs_samples
@pytest.mark.parametrize("store", [STORE, "srv/store"])
def test_podman(tmp_path: Path, store: str) -> None:
    """In its usual place, and where runc's state says."""
    bundle = f"{store}/overlay-containers/{PODMAN_ID}/userdata"
    put(tmp_path, f"{bundle}/config.json", sample("podman-config.json"))
    put(tmp_path, f"{store}/overlay-containers/containers.json", sample("podman-containers.json"))
    put(tmp_path, f"{store}/overlay-images/images.json", [{"id": IMAGE_ID, "digest": "sha256:12"}])
    config = {"labels": {"team": "shop"}}
    put(
        tmp_path,
        f"{store}/libpod/bolt_state.db",
        database({"ctr": {PODMAN_ID: {"config": json.dumps(config).encode()}}}),
    )
    put(tmp_path, f"run/runc/{PODMAN_ID}/state.json", {"config": {"labels": ["a=b", f"bundle=/{bundle}"]}})
    facts = whole(tmp_path, "podman", PODMAN_ID)
    assert (facts.name, facts.type, facts.image) == ("pod1", "podman", "localhost/debian:bookworm-min")
    assert (facts.image_repository, facts.image_tag) == ("localhost/debian", "bookworm-min")
    assert (facts.image_id, facts.image_digest) == (IMAGE_ID, "sha256:12")
    assert (facts.privileged, facts.host_pid, facts.host_network) == (False, False, True)
    assert facts.labels == {"team": "shop"}


@needs_samples
def test_podmans_name_may_come_later(tmp_path: Path) -> None:
    put(tmp_path, f"{STORE}/overlay-containers/{PODMAN_ID}/userdata/config.json", sample("podman-config.json"))
    runtimes = Runtimes(tmp_path)
    facts, complete = runtimes.find(ref("podman", PODMAN_ID))
    assert facts is not None
    assert not complete
    entry = sample("podman-containers.json")
    put(tmp_path, "run/containers/storage/overlay-containers/volatile-containers.json", entry)
    facts, complete = runtimes.find(ref("podman", PODMAN_ID))
    assert facts is not None
    assert (facts.name, complete) == ("pod1", True)


CRIO = {
    "io.container.manager": "cri-o", "io.kubernetes.cri-o.ContainerType": "container",
    "io.kubernetes.cri-o.Metadata": '{"name":"app"}', "io.kubernetes.cri-o.ImageName": "quay.io/shop/web:3",
    "io.kubernetes.cri-o.ImageRef": IMAGE_ID, "io.kubernetes.cri-o.SandboxID": SANDBOX,
    "io.kubernetes.cri-o.Labels": json.dumps({
        "io.kubernetes.container.name": "app", "io.kubernetes.pod.name": "web-0", "io.kubernetes.pod.namespace": "shop",
        "io.kubernetes.pod.uid": POD, "team": "x",
    }),
}  # fmt: skip


def test_cri_o(tmp_path: Path) -> None:
    path = f"run/containers/storage/overlay-containers/{ID}/userdata/config.json"
    put(tmp_path, path, {**SPEC, "annotations": CRIO})
    facts = whole(tmp_path, "cri-o")
    assert (facts.name, facts.type, facts.image_repository, facts.image_tag) == (
        "app",
        "cri-o",
        "quay.io/shop/web",
        "3",
    )
    assert (facts.pod_name, facts.pod_namespace, facts.pod_uid) == ("web-0", "shop", POD)
    assert (facts.pod_sandbox_id, facts.image_id, facts.labels["team"]) == (SANDBOX, IMAGE_ID, "x")
    sandbox = {**CRIO, "io.kubernetes.cri-o.ContainerType": "sandbox", "io.kubernetes.cri-o.IP.0": "10.2.3.4",
               "io.kubernetes.cri-o.PrivilegedRuntime": "true"}  # fmt: skip
    put(tmp_path, path, {**SPEC, "annotations": sandbox})
    facts = whole(tmp_path, "cri-o")
    assert (facts.name, facts.ip, facts.privileged, facts.pod_labels["team"]) == ("web-0", "10.2.3.4", True, "x")


def test_runc_alone_gives_what_is_in_the_bundle(tmp_path: Path) -> None:
    put(tmp_path, "run/runc/box/state.json", {"config": {"labels": ["bundle=/srv/box"]}})
    runtimes = Runtimes(tmp_path)
    facts, complete = runtimes.find(ref("runc", "box"))
    assert facts is not None
    assert (facts.name, facts.type, complete) == ("box", "runc", False)
    mounts = [{"destination": "/d", "source": "/srv/d", "options": ["rbind", "ro", "rslave"]}, {"type": "proc"}]
    put(tmp_path, "srv/box/config.json", {**SPEC, "mounts": mounts})
    facts = whole(tmp_path, "runc", "box")
    assert facts.mounts == (Mount("/srv/d", "/d", "", False, "rslave"),)
    assert (facts.host_pid, facts.host_ipc) == (False, True)


def test_a_bundle_that_only_crun_knows(tmp_path: Path) -> None:
    put(tmp_path, "run/crun/box/status", {"bundle": "/srv/box"})
    put(
        tmp_path,
        "srv/box/config.json",
        {**SPEC, "annotations": {"org.opencontainers.image.ref.name": "web:1@sha256:2"}},
    )
    facts = whole(tmp_path, "runc", "box")
    assert (facts.image_repository, facts.image_tag, facts.image_digest) == ("web", "1", "sha256:2")


def test_containers_without_files_have_a_name(tmp_path: Path) -> None:
    facts = whole(tmp_path, "lxc", "web")
    assert (facts.name, facts.type) == ("web", "lxc")


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/b", "x" * 300, "a\0b", "\udcff"])
def test_an_id_that_is_none_reads_nothing(tmp_path: Path, name: str) -> None:
    put(tmp_path, f"{TASKS}/k8s.io/x/config.json", SPEC)
    put(tmp_path, "run/state.json", {})
    runtimes = Runtimes(tmp_path)
    for engine in ("cri", "docker", "podman", "cri-o", "runc"):
        assert runtimes.find(ref(engine, name)) == (None, False)
    assert not any(runtimes.failures.values())


def test_what_is_too_long_is_cut_or_left_out(tmp_path: Path) -> None:
    labels = {**{f"key{i}": "v" for i in range(1000)}, "long": "x" * 101}
    config = {"Name": "/" + "n" * 10000, "Config": {"Labels": labels, "Image": "a\ud800b"}, "State": {"Running": True}}
    mounts = {str(i): {"Source": "s" * 4000} for i in range(100)}
    put(tmp_path, f"var/lib/docker/containers/{ID}/config.v2.json", {**config, "MountPoints": mounts})
    put(tmp_path, f"var/lib/docker/containers/{ID}/hostconfig.json", {})
    facts = whole(tmp_path, "docker")
    assert len(facts.name) == 4095
    assert len(facts.labels) == 256
    assert "long" not in facts.labels
    assert len(facts.mounts or ()) == 8
    assert facts.image == "a?b"


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=5)
    | st.sampled_from(["host", "bind", "rw", "pid", ID]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
FILES = {
    f"{TASKS}/k8s.io/{ID}/config.json": ("cri", "cri-container-config.json"),
    f"var/lib/docker/containers/{ID}/config.v2.json": ("docker", "docker-config.v2.json"),
    f"var/lib/docker/containers/{ID}/hostconfig.json": ("docker", "docker-hostconfig.json"),
    f"{STORE}/overlay-containers/{ID}/userdata/config.json": ("podman", "podman-config.json"),
    f"{STORE}/overlay-containers/containers.json": ("podman", "podman-containers.json"),
}


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every part of a JSON value, as its holder and its key."""
    keys = value.keys() if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    return [(value, key) for key in keys] + [place for key in keys for place in places(value[key])]


@needs_samples
@settings(max_examples=150, deadline=None)
@given(path=st.sampled_from(sorted(FILES)), changes=st.lists(st.tuples(st.integers(0), values), max_size=4))
def test_samples_of_another_shape_give_facts_all_the_same(
    tmp_path_factory: pytest.TempPathFactory, path: str, changes: list[tuple[int, Any]]
) -> None:
    root = tmp_path_factory.getbasetemp() / "shapes"
    for one, (_, name) in FILES.items():
        value = copy.deepcopy(sample(name))
        if name == "podman-containers.json":
            value[0]["id"] = ID
        if one == path:
            for number, change in changes:
                found = places(value)
                holder, key = found[number % len(found)] if found else ({}, "")
                holder[key] = copy.deepcopy(change)
        put(root, one, value)
    runtimes = Runtimes(root)
    facts, _ = runtimes.find(ref(FILES[path][0]))
    assert isinstance(facts, Facts)
    assert runtimes.failures["unexpected"] == 0
    for name in ("name", "image", "image_repository", "pod_name", "ip"):
        assert isinstance(getattr(facts, name), str), name
    assert set(map(type, facts.labels.values())) <= {str}


@needs_samples
@settings(max_examples=100, deadline=None)
@given(path=st.sampled_from(sorted(FILES)), at=st.integers(0), content=st.binary(max_size=30), cut=st.booleans())
def test_damaged_samples_raise_nothing(
    tmp_path_factory: pytest.TempPathFactory, path: str, at: int, content: bytes, cut: bool
) -> None:
    root = tmp_path_factory.getbasetemp() / "damaged"
    engine, name = FILES[path]
    raw = (SAMPLES / name).read_bytes()
    at %= len(raw)
    put(root, path, raw[:at] + content + (b"" if cut else raw[at + len(content) :]))
    runtimes = Runtimes(root)
    facts, complete = runtimes.find(ref(engine))
    assert facts is None or isinstance(facts, Facts)
    assert runtimes.failures["unexpected"] == 0
    assert complete in (True, False)
