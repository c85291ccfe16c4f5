# SPDX-License-Identifier: Apache-2.0
"""One Kubernetes cluster for all tests. Each test cleans up what it made in it; the cluster cleans up the machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from e2e.cluster.cluster import Cluster

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Its node is Ready, and has the images localhost/busybox:1 and localhost/pause:1."""
    made = Cluster(tmp_path_factory.mktemp("cluster"))
    try:
        yield made.start()
    finally:
        made.stop()
