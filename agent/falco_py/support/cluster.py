# SPDX-License-Identifier: Apache-2.0
"""Container runtimes and Kubernetes become findings.

Invariant: no request is sent to either; sockets are looked at, the API server is connected to and left.
"""

from __future__ import annotations

import os
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ..kube.access import SERVICE_ACCOUNT
from . import reach
from .finding import Check, fine, warn

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .finding import Finding, Question

SOCKETS: Final = {
    "/run/containerd/containerd.sock": "containerd",
    "/run/k3s/containerd/containerd.sock": "k3s",
    "/run/crio/crio.sock": "CRI-O",
    "/run/docker.sock": "Docker",
    "/run/podman/podman.sock": "podman",
    "/run/host-containerd/containerd.sock": "containerd of the host",
}
ACCOUNT: Final = Path(SERVICE_ACCOUNT)
_NETWORK_S: Final = 15.0


def cgroup_mode() -> str:
    """v2, v1 or hybrid, by what is mounted."""
    if os.path.exists("/sys/fs/cgroup/cgroup.controllers"):
        return "v2"
    return "hybrid" if os.path.exists("/sys/fs/cgroup/unified/cgroup.procs") else "v1"


def in_container() -> str:
    """What says that this runs in a container; empty when nothing does."""
    if os.path.exists("/.dockerenv"):
        return "/.dockerenv"
    if os.path.exists("/run/.containerenv"):
        return "/run/.containerenv"
    if os.environ.get("KUBERNETES_SERVICE_HOST"):
        return "KUBERNETES_SERVICE_HOST"
    return "variable container" if os.environ.get("container") else ""  # noqa: SIM112 - as systemd and podman name it


def _runtimes(question: Question) -> Iterator[Finding]:
    found = [f"{name} ({path})" for path, name in SOCKETS.items() if reach.is_socket(question.host(path))]
    by = f"cgroup {cgroup_mode()}"
    if found:
        yield fine("containers", f"{by}; sockets of {', '.join(found)}")
    else:
        yield fine("containers", f"{by}; no socket of a runtime, and none is needed")


def _kubernetes(question: Question) -> Iterator[Finding]:
    host = os.environ.get("KUBERNETES_SERVICE_HOST", "")
    wanted = question.config.kubernetes if question.config else None
    if wanted is None:
        yield fine(
            "Kubernetes", "in a pod, but the API server is not asked (kubernetes.enabled)" if host else "not in a pod"
        )
        return
    if wanted.kubeconfig:
        if os.access(wanted.kubeconfig, os.R_OK):
            yield fine("Kubernetes", f"the API server is asked as {wanted.kubeconfig} says; that was not tried")
        else:
            yield warn("Kubernetes", f"kubernetes.kubeconfig: {wanted.kubeconfig} cannot be read",
                       "mend the path; without it the agent knows pods by the files of their runtime only")  # fmt: skip
        return
    if not host:
        yield warn("Kubernetes", "kubernetes.enabled is true, but this is no pod",
                   "name a file in kubernetes.kubeconfig, or set kubernetes.enabled to false")  # fmt: skip
        return
    text = os.environ.get("KUBERNETES_SERVICE_PORT", "")
    port = int(text) if text.isdigit() else 443
    token, authority = ACCOUNT / "token", ACCOUNT / "ca.crt"
    if not os.access(token, os.R_OK):
        yield warn("Kubernetes", f"in a pod, but {token} cannot be read: the API server would not answer",
                   "give the pod a service account's token, or set kubernetes.enabled to false")  # fmt: skip
    try:
        context = ssl.create_default_context(cafile=str(authority) if authority.exists() else None)
        told = reach.connect(host, port, context)
    except OSError as error:
        yield warn("Kubernetes", f"the API server {host}:{port} is not reachable: {reach.reason(error)}",
                   "check network policies, and that the pod's certificates are the cluster's")  # fmt: skip
    else:
        node = f" on node {wanted.node_name}" if wanted.node_name else ""
        yield fine("Kubernetes", f"in a pod{node}; API server {host}:{port}: {told}")


CHECKS: Final = (Check("containers", _runtimes),)
# It looks at the configuration.
AFTER: Final = (Check("Kubernetes", _kubernetes, _NETWORK_S),)
