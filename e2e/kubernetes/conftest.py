# SPDX-License-Identifier: Apache-2.0
"""One Kubernetes cluster for all tests. Each test cleans up what it made in it; the cluster cleans up the machine."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml
from e2e.cluster.cluster import Cluster
from e2e.kubernetes.audit import Requests
from e2e.kubernetes.release import CHART, Release

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def requests(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Requests:
    """What the agent asks the API server of the cluster."""
    running = request.config.getoption("--cluster-at")
    return Requests(Path(f"{running}.requests") if running else tmp_path_factory.mktemp("requests"))


@pytest.fixture(scope="session")
def cluster(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, requests: Requests
) -> Iterator[Cluster]:
    """Its node is Ready, and has the images localhost/busybox:1 and localhost/pause:1."""
    if running := request.config.getoption("--cluster-at"):
        yield Cluster(Path(running))
        return
    made = Cluster(tmp_path_factory.mktemp("cluster"), api_server=requests.flags())
    try:
        yield made.start()
    finally:
        made.stop()


@pytest.fixture(scope="session")
def image(request: pytest.FixtureRequest, cluster: Cluster) -> str:
    """The name of the agent's image, which the node has."""
    given = request.config.getoption("--agent-image")
    archive = Path(given) if given else request.getfixturevalue("runtime").archive
    cluster.import_image(archive)
    with tarfile.open(archive) as opened:
        listed = opened.extractfile("manifest.json")
        assert listed is not None
        (name,) = json.load(listed)[0]["RepoTags"]
    found: str = name
    return found


@pytest.fixture(scope="module")
def release(cluster: Cluster, image: str) -> Iterator[Release]:
    """Not installed yet; uninstalled after the module's tests."""
    shown = cluster.helm("template", str(CHART), "--show-only=templates/daemonset.yaml").stdout
    assert yaml.safe_load(shown)["spec"]["template"]["spec"]["containers"][0]["image"] == image
    made = Release(cluster)
    made.uninstall()
    yield made
    made.uninstall()
