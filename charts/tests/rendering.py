# SPDX-License-Identifier: Apache-2.0
"""The chart and values become objects, as Helm makes them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any, Final

import yaml

CHART: Final = Path(__file__).parents[1] / "falco-py"
RELEASE: Final = "falco-py"
NAMESPACE: Final = "security"

Manifest = dict[str, Any]


class HelmError(Exception):
    """Helm's reason, as text."""


def helm(*words: str, stdin: str | None = None) -> str:
    """What Helm prints. Raises HelmError."""
    found = os.environ.get("FALCO_PY_HELM") or shutil.which("helm")
    if not found:
        raise FileNotFoundError("helm is neither on PATH nor in FALCO_PY_HELM")
    done = subprocess.run([found, *words], input=stdin, capture_output=True, text=True, check=False)
    if done.returncode:
        raise HelmError(done.stderr + done.stdout)
    return done.stdout


def rendered(values: Manifest | None = None, *, kubernetes: str = "1.34.0") -> list[Manifest]:
    text = helm(
        "template", RELEASE, str(CHART), "--namespace", NAMESPACE, "--kube-version", kubernetes, "--values", "-",
        stdin=json.dumps(values or {}),
    )  # fmt: skip
    return [one for one in yaml.safe_load_all(text) if one]


def one(manifests: list[Manifest], kind: str, name: str | None = None) -> Manifest:
    found = [m for m in manifests if m["kind"] == kind and name in (None, m["metadata"]["name"])]
    assert len(found) == 1, f"{kind} {name or ''}: {len(found)} objects"
    return found[0]


def kinds(manifests: list[Manifest]) -> set[str]:
    return {manifest["kind"] for manifest in manifests}


def pod_of(manifests: list[Manifest]) -> Manifest:
    spec: Manifest = one(manifests, "DaemonSet")["spec"]["template"]["spec"]
    return spec


def agent_of(manifests: list[Manifest]) -> Manifest:
    found: Manifest = pod_of(manifests)["containers"][0]
    return found


def falco_yaml(manifests: list[Manifest]) -> str:
    """Of the ConfigMap that the agent's pods mount."""
    spec = one(manifests, "DaemonSet")["spec"]["template"]["spec"]
    (name,) = [volume["configMap"]["name"] for volume in spec["volumes"] if volume["name"] == "config"]
    text: str = one(manifests, "ConfigMap", name)["data"]["falco.yaml"]
    return text


# Every switch of the chart.
ALL: Final[Manifest] = {
    "image": {"registry": "registry.example:5000", "digest": "sha256:" + "0" * 64},
    "imagePullSecrets": [{"name": "regcred"}],
    "falco": {"json_output": True, "http_output": {"spool": {"max_size_mb": 200}}, "static_fields": {"site": "x"}},
    "customRules": {"site.yaml": "- list: mine\n  items: [a]\n"},
    "webhook": {
        "enabled": True,
        "url": "https://receiver.example/secret",
        "headers": {"Authorization": "Bearer made", "X-Other": "1"},
        "existingSecret": "own",
        "headerKeys": {"X-Token": "token"},
    },
    "spool": {"hostPath": "/var/lib/falco-py"},
    "podSecurityContext": {"seLinuxOptions": {"type": "spc_t"}},
    "hostPID": True,
    "hostNetwork": True,
    "hostMounts": {"runtimes": ["containerd", "docker", "cri-o", "podman", "/var/lib/cni/results"]},
    "serviceAccount": {"annotations": {"a": "b"}},
    "nodeSelector": {"kubernetes.io/os": "linux"},
    "affinity": {"nodeAffinity": {}},
    "priorityClassName": "system-node-critical",
    "annotations": {"a": "b"},
    "podLabels": {"team": "blue", "app": "other"},
    "podAnnotations": {"a": "b"},
    "extra": {
        "args": ["-v"],
        "env": [{"name": "TZ", "value": "UTC"}],
        "initContainers": [{"name": "first", "image": "busybox"}],
    },
    "mounts": {
        "volumes": [{"name": "more", "emptyDir": {}}],
        "volumeMounts": [{"name": "more", "mountPath": "/more"}],
    },
    "metrics": {"enabled": True, "service": {"annotations": {"a": "b"}}},
    "serviceMonitor": {
        "create": True,
        "labels": {"release": "p"},
        "authorization": {"credentials": {"name": "t", "key": "t"}},
        "tlsConfig": {"insecureSkipVerify": True},
    },
    "prometheusRule": {"create": True, "labels": {"release": "p"}},
    "grafana": {"dashboards": {"enabled": True, "namespace": "monitoring", "annotations": {"grafana_folder": "S"}}},
    "networkPolicy": {
        "create": True,
        "from": [{"podSelector": {}}],
        "egress": [{"ports": [{"port": 443}]}],
    },
}
