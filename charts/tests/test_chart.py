# SPDX-License-Identifier: Apache-2.0
"""The objects that the chart makes are what a cluster, the agent, Prometheus and Grafana expect."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
import values_page
import yaml
from rendering import (
    ALL,
    CHART,
    NAMESPACE,
    RELEASE,
    HelmError,
    Manifest,
    agent_of,
    falco_yaml,
    helm,
    kinds,
    one,
    pod_of,
    rendered,
)  # fmt: skip

from falco_py import __version__
from falco_py.config import Config, Kubernetes, load
from falco_py.enrich import containerd, docker, podman, storage
from falco_py.metrics import table
from falco_py.support import cluster

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ROOT = CHART.parents[1]
PLACEHOLDER = re.compile(r"\{\w+\}")
READING = {"list", "watch"}
SWITCHES = ("pods", "owners", "services", "watchRules", "events")


@pytest.fixture(scope="module")
def default() -> list[Manifest]:
    return rendered()


@pytest.fixture(scope="module")
def everything() -> list[Manifest]:
    return rendered(ALL)


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """That of the agent in its pod, with some text in place of what is in Secrets."""
    for name in ("FALCO_WEBHOOK_OWN_HEADER_0", "FALCO_WEBHOOK_URL"):
        monkeypatch.setenv(name, "https://own.example")
    monkeypatch.setenv("FALCO_K8S_NODE_NAME", "node-1")
    return monkeypatch


def only(*switches: str) -> Manifest:
    """Values with these switches of `kubernetes` alone."""
    return {"kubernetes": {name: name in switches for name in SWITCHES}}


def rights(manifests: list[Manifest]) -> dict[str, set[str]]:
    """Resource to verbs, of all roles."""
    found: dict[str, set[str]] = {}
    for role in manifests:
        for rule in role["rules"] if role["kind"] in ("Role", "ClusterRole") else ():
            for resource in rule["resources"]:
                assert resource not in found
                found[resource] = set(rule["verbs"])
    return found


def loaded(manifests: list[Manifest], tmp_path: Path) -> Config:
    file = tmp_path / "falco.yaml"
    file.write_text(falco_yaml(manifests))
    return load(str(file))


def mounts(manifests: list[Manifest]) -> dict[str, Manifest]:
    return {mount["mountPath"]: mount for mount in agent_of(manifests)["volumeMounts"]}


def volumes(manifests: list[Manifest]) -> dict[str, Manifest]:
    return {volume["name"]: volume for volume in pod_of(manifests)["volumes"]}


# Helm


@pytest.mark.parametrize("values", [{}, ALL], ids=["default", "everything"])
def test_helm_lint_has_nothing_to_say(values: Manifest, tmp_path: Path) -> None:
    file = tmp_path / "values.json"
    file.write_text(json.dumps(values))
    told = helm("lint", "--strict", "--values", str(file), str(CHART))
    assert "[WARNING]" not in told
    assert "[ERROR]" not in told


def test_the_version_of_the_chart_is_that_of_the_agent() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["appVersion"] == __version__


def test_all_names_and_labels_are_short_enough_whatever_the_release_is_called() -> None:
    text = helm("template", "r" * 53, str(CHART), "--values", "-", stdin=json.dumps(ALL))
    for manifest in filter(None, yaml.safe_load_all(text)):
        assert len(manifest["metadata"]["name"]) <= 63
        assert all(len(value) <= 63 for value in manifest["metadata"]["labels"].values())


def test_no_two_objects_are_the_same(everything: list[Manifest]) -> None:
    names = [(one["kind"], one["metadata"]["name"]) for one in everything]
    assert len(names) == len(set(names))


def test_what_is_a_switch_is_off_by_default(default: list[Manifest]) -> None:
    assert kinds(default) == {
        "DaemonSet", "ConfigMap", "ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding", "Pod",
        "Service",
    }  # fmt: skip
    assert "helm.sh/hook" in one(default, "Service")["metadata"]["annotations"]  # of helm test


def test_every_switch_makes_its_object(everything: list[Manifest]) -> None:
    assert kinds(everything) - kinds(rendered()) == {"Secret", "ServiceMonitor", "PrometheusRule", "NetworkPolicy"}


# Least privilege


def test_the_agent_is_not_privileged_and_has_four_capabilities(default: list[Manifest]) -> None:
    context = agent_of(default)["securityContext"]
    assert context == {
        "runAsUser": 0,
        "runAsGroup": 0,
        "readOnlyRootFilesystem": True,
        "privileged": False,
        "allowPrivilegeEscalation": False,
        "appArmorProfile": {"type": "Unconfined"},
        "seccompProfile": {"type": "RuntimeDefault"},
        "capabilities": {"drop": ["ALL"], "add": ["BPF", "PERFMON", "SYS_PTRACE", "DAC_READ_SEARCH"]},
    }
    pod = pod_of(default)
    assert not {"hostPID", "hostNetwork", "hostIPC"} & pod.keys()


def test_privileged_is_a_switch_that_kubernetes_accepts() -> None:
    context = agent_of(rendered({"privileged": True}))["securityContext"]
    assert context["privileged"] is True
    assert context["readOnlyRootFilesystem"] is True
    assert "allowPrivilegeEscalation" not in context  # false is refused together with privileged
    assert "capabilities" not in context


def test_a_security_context_of_ones_own_replaces_the_charts() -> None:
    manifests = rendered({"containerSecurityContext": {"runAsUser": 5}}, kubernetes="1.29.0")
    assert agent_of(manifests)["securityContext"] == {"runAsUser": 5}
    assert not [
        a for a in one(manifests, "DaemonSet")["spec"]["template"]["metadata"]["annotations"] if "apparmor" in a
    ]


def test_before_1_30_an_annotation_says_the_apparmor_profile() -> None:
    manifests = rendered(kubernetes="1.29.4")
    annotations = one(manifests, "DaemonSet")["spec"]["template"]["metadata"]["annotations"]
    assert annotations["container.apparmor.security.beta.kubernetes.io/falco-py"] == "unconfined"
    assert "appArmorProfile" not in agent_of(manifests)["securityContext"]
    assert "recursiveReadOnly" not in str(agent_of(manifests))


@pytest.mark.parametrize("values", [{}, ALL], ids=["default", "everything"])
def test_directories_of_the_node_are_read_only_but_for_the_spool(values: Manifest) -> None:
    manifests = rendered(values)
    of_the_node = {name for name, volume in volumes(manifests).items() if "hostPath" in volume}
    writable = {
        path for path, mount in mounts(manifests).items() if mount["name"] in of_the_node and not mount.get("readOnly")
    }
    assert writable <= {"/var/lib/falco"}
    assert writable == ({"/var/lib/falco"} if values else set())


def directories(manifests: list[Manifest]) -> set[str]:
    """Of the node."""
    return {volume["hostPath"]["path"] for volume in volumes(manifests).values() if "hostPath" in volume}


def test_of_the_node_there_are_its_proc_its_etc_and_what_containerd_knows(default: list[Manifest]) -> None:
    assert directories(default) == {
        "/proc", "/etc", "/run/containerd/io.containerd.runtime.v2.task",
        "/var/lib/containerd/io.containerd.metadata.v1.bolt",
    }  # fmt: skip


@pytest.mark.parametrize("name", ["containerd", "k3s", "microk8s", "cri-o", "docker", "podman"])
def test_the_directories_of_each_runtime_are_those_that_the_agent_reads(name: str) -> None:
    found = directories(rendered({"hostMounts": {"runtimes": [name]}})) - {"/proc", "/etc"}
    read = {
        *(f"{state}/{containerd.TASKS}" for state in containerd._PLACES),
        *(f"{root}/{containerd._DATABASE[0]}" for root in containerd._PLACES.values()),
        *(f"{storage.STORES[0]}/{below}" for below in ("overlay-containers", "overlay-images", podman._DATABASE[0])),
        *(f"{docker.ROOT}/{below}" for below in ("containers", "image")),
    }
    assert len(found) >= 2
    assert found <= read


def test_runtimes_may_be_several_and_paths(everything: list[Manifest]) -> None:
    assert directories(everything) >= {
        "/run/containerd/io.containerd.runtime.v2.task", "/var/lib/docker/containers", "/var/lib/cni/results",
        "/var/lib/containers/storage/overlay-containers", "/var/lib/containers/storage/libpod",
    }  # fmt: skip


@pytest.mark.parametrize("name", ["containerd", "k3s", "microk8s", "cri-o", "docker", "podman"])
def test_no_socket_of_a_runtime_is_within_reach(name: str) -> None:
    sockets = [*cluster.SOCKETS, "/var/snap/microk8s/common/run/containerd.sock"]
    for path in directories(rendered({"hostMounts": {"runtimes": [name]}})):
        assert not [socket for socket in sockets if socket.startswith(f"{path}/")]


def test_nothing_is_made_on_a_node_but_the_spool_that_was_asked_for(everything: list[Manifest]) -> None:
    kinds_of_paths = {
        volume["hostPath"]["path"]: volume["hostPath"].get("type")
        for volume in volumes(everything).values()
        if "hostPath" in volume
    }
    assert kinds_of_paths.pop("/var/lib/falco-py") == "DirectoryOrCreate"
    always = {path: kinds_of_paths.pop(path) for path in ("/proc", "/etc")}
    assert set(always.values()) == {None}
    assert set(kinds_of_paths.values()) == {"Directory"}


def test_directories_of_the_node_are_below_host_root(everything: list[Manifest]) -> None:
    agent = agent_of(everything)
    root = next(variable["value"] for variable in agent["env"] if variable["name"] == "HOST_ROOT")
    for name, volume in volumes(everything).items():
        if "hostPath" in volume and name != "spool":
            assert [m["mountPath"] for m in agent["volumeMounts"] if m["name"] == name] == [
                root + volume["hostPath"]["path"]
            ]


def test_every_volume_that_is_written_to_is_bounded(default: list[Manifest]) -> None:
    empty = {name: volume["emptyDir"] for name, volume in volumes(default).items() if "emptyDir" in volume}
    assert empty.keys() == {"spool", "run", "tmp"}
    assert all(volume["sizeLimit"] for volume in empty.values())


def test_a_larger_spool_has_a_larger_volume() -> None:
    size = volumes(rendered({"falco": {"http_output": {"spool": {"max_size_mb": 200}}}}))["spool"]["emptyDir"][
        "sizeLimit"
    ]
    assert int(size.removesuffix("Mi")) * 2**20 > (200 * 1.25 + 4) * 10**6


def test_the_token_lasts_an_hour_and_only_root_reads_it(default: list[Manifest]) -> None:
    assert pod_of(default)["automountServiceAccountToken"] is False
    assert one(default, "ServiceAccount")["automountServiceAccountToken"] is False
    volume = volumes(default)["token"]["projected"]
    token, authority, namespace = volume["sources"]
    # 3607 is the one that API servers extend to a year.
    assert token["serviceAccountToken"] == {"path": "token", "expirationSeconds": 3600}
    assert authority["configMap"] == {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}
    assert namespace["downwardAPI"]["items"] == [{"path": "namespace", "fieldRef": {"fieldPath": "metadata.namespace"}}]
    assert volume["defaultMode"] == 0o400
    assert mounts(default)[str(cluster.ACCOUNT)] == {
        "name": "token", "mountPath": str(cluster.ACCOUNT), "readOnly": True,
    }  # fmt: skip


def test_what_nothing_asks_of_the_api_server_is_not_there(tmp_path: Path) -> None:
    for values in (only(), only("owners", "services", "events")):
        manifests = rendered(values)
        assert "token" not in volumes(manifests)
        assert not {kind for kind in kinds(manifests) if "Role" in kind}
        assert loaded(manifests, tmp_path).kubernetes is None


@pytest.mark.parametrize(
    ("switches", "expected"),
    [
        (["pods"], {"pods", "namespaces"}),
        (["pods", "owners"], {"pods", "namespaces", "replicasets", "deployments", "replicationcontrollers", "jobs"}),
        (["pods", "services"], {"pods", "namespaces", "services"}),
        (["watchRules"], {"configmaps"}),
        (["owners", "services", "watchRules"], {"configmaps"}),
        (["pods", "events"], {"pods", "namespaces"}),
    ],
)
def test_a_switch_lets_the_agent_list_and_watch_its_resources_and_nothing_else(
    switches: list[str], expected: set[str]
) -> None:
    found = rights(rendered(only(*switches)))
    assert found.keys() == expected
    assert all(verbs == READING for verbs in found.values())


def test_the_agent_may_watch_one_config_map_and_write_nothing_but_events(default: list[Manifest]) -> None:
    role = one(default, "Role")
    assert role["metadata"]["namespace"] == NAMESPACE
    assert role["rules"] == [
        {"apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["falco-rules"], "verbs": ["list", "watch"]},
        {"apiGroups": [""], "resources": ["events"], "verbs": ["create", "patch"]},
    ]
    assert {resource for resource, verbs in rights(default).items() if verbs != READING} == {"events"}
    assert not [
        rule for role in default if role["kind"] == "ClusterRole" for rule in role["rules"]
        if {"secrets", "configmaps", "*"} & {*rule["resources"], *rule["apiGroups"]}
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("switches", "expected"),
    [
        (SWITCHES, Kubernetes("node-1", rules_configmap="security/falco-rules")),
        (["pods"], Kubernetes("node-1", owners=False, services=False, events=False)),
        (["pods", "services"], Kubernetes("node-1", owners=False, events=False)),
        (["watchRules"], Kubernetes("node-1", pods=False, owners=False, services=False, events=False,
                                    rules_configmap="security/falco-rules")),
        # What has no effect by itself.
        (["pods", "events"], Kubernetes("node-1", owners=False, services=False, events=False)),
        (["owners", "services", "watchRules"], Kubernetes("node-1", pods=False, owners=False, services=False,
                                                          events=False, rules_configmap="security/falco-rules")),
    ],
)  # fmt: skip
def test_the_agent_asks_for_what_it_has_the_rights_for(
    switches: list[str], expected: Kubernetes, tmp_path: Path
) -> None:
    assert loaded(rendered(only(*switches)), tmp_path).kubernetes == expected


def test_the_rules_that_are_watched_are_those_that_are_mounted(tmp_path: Path) -> None:
    manifests = rendered({"rules": {"configMap": "others"}})
    kubernetes = loaded(manifests, tmp_path).kubernetes
    assert kubernetes
    assert kubernetes.rules_configmap == "security/others"
    mounted = volumes(manifests)[mounts(manifests)[kubernetes.rules_directory]["name"]]
    assert mounted["configMap"]["name"] == one(manifests, "Role")["rules"][0]["resourceNames"][0] == "others"


def test_roles_are_bound_to_the_account_of_the_pod(everything: list[Manifest]) -> None:
    account = pod_of(everything)["serviceAccountName"]
    for binding, role in (("RoleBinding", "Role"), ("ClusterRoleBinding", "ClusterRole")):
        bound = one(everything, binding)
        assert bound["subjects"] == [{"kind": "ServiceAccount", "name": account, "namespace": NAMESPACE}]
        assert bound["roleRef"]["kind"] == role
        assert bound["roleRef"]["name"] == one(everything, role)["metadata"]["name"]


def test_no_roles_are_made_when_rbac_is_not_wanted() -> None:
    assert not {kind for kind in kinds(rendered({**ALL, "rbac": {"create": False}})) if "Role" in kind}


# The pod


def test_labels_and_selectors_agree(everything: list[Manifest]) -> None:
    daemon_set = one(everything, "DaemonSet")
    labels = daemon_set["spec"]["template"]["metadata"]["labels"]
    assert labels["app"] == "falco-py"
    assert labels["team"] == "blue"
    selectors = [
        daemon_set["spec"]["selector"]["matchLabels"],
        one(everything, "NetworkPolicy")["spec"]["podSelector"]["matchLabels"],
        *(service["spec"]["selector"] for service in everything if service["kind"] == "Service"),
    ]
    assert all(selector.items() <= labels.items() for selector in selectors)
    test = one(everything, "Pod")["metadata"]["labels"]
    assert not any(selector.items() <= test.items() for selector in selectors)
    allowed = one(everything, "NetworkPolicy")["spec"]["ingress"][0]["from"][-1]["podSelector"]["matchLabels"]
    assert allowed.items() <= test.items()


def test_it_runs_on_every_node_and_is_replaced_one_by_one(default: list[Manifest]) -> None:
    assert pod_of(default)["tolerations"] == [{"operator": "Exists"}]
    strategy = one(default, "DaemonSet")["spec"]["updateStrategy"]
    assert strategy == {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1}}


def test_the_node_gives_the_agent_its_name(default: list[Manifest]) -> None:
    named = {v["name"]: v["valueFrom"]["fieldRef"]["fieldPath"] for v in agent_of(default)["env"] if "valueFrom" in v}
    assert named == {"FALCO_K8S_NODE_NAME": "spec.nodeName", "FALCO_HOSTNAME": "spec.nodeName"}


def test_probes_ask_the_web_server_where_falco_yaml_puts_it() -> None:
    server = {"ssl_enabled": True, "listen_port": 9000, "k8s_healthz_endpoint": "/well"}
    agent = agent_of(rendered({"falco": {"webserver": server}}))
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert agent[probe]["httpGet"] == {"path": "/well", "port": "web", "scheme": "HTTPS"}
    assert agent["ports"] == [{"name": "web", "containerPort": 9000, "protocol": "TCP"}]


def test_without_a_web_server_there_are_no_probes_and_no_test() -> None:
    manifests = rendered({"falco": {"webserver": {"enabled": False}}})
    assert not {"startupProbe", "livenessProbe", "readinessProbe", "ports"} & agent_of(manifests).keys()
    assert "Pod" not in kinds(manifests)


def test_changed_configuration_and_rules_start_no_pod_anew(default: list[Manifest]) -> None:
    changed = rendered({"falco": {"json_output": True}, "customRules": ALL["customRules"]})
    assert falco_yaml(changed) != falco_yaml(default)
    assert one(changed, "DaemonSet") == one(default, "DaemonSet")


def test_files_are_mounted_as_directories_so_that_edits_arrive(everything: list[Manifest]) -> None:
    assert not [mount for mount in agent_of(everything)["volumeMounts"] if "subPath" in mount]


def test_extra_arguments_variables_volumes_and_secrets_are_taken_over(everything: list[Manifest]) -> None:
    pod, agent = pod_of(everything), agent_of(everything)
    assert agent["args"] == ["-c", "/etc/falco/config/falco.yaml", "-v"]
    assert {"name": "TZ", "value": "UTC"} in agent["env"]
    assert mounts(everything)["/more"]["name"] in volumes(everything)
    assert pod["imagePullSecrets"] == [{"name": "regcred"}]
    assert pod["priorityClassName"] == "system-node-critical"
    assert pod["dnsPolicy"] == "ClusterFirstWithHostNet"
    assert agent["image"] == "registry.example:5000/falco-py@sha256:" + "0" * 64


def test_every_mount_has_its_volume_and_every_volume_its_mount(everything: list[Manifest]) -> None:
    assert {mount["name"] for mount in mounts(everything).values()} == volumes(everything).keys()


# falco.yaml and rules


@pytest.mark.parametrize("values", [{}, ALL], ids=["default", "everything"])
def test_the_agent_takes_falco_yaml_without_a_remark(values: Manifest, tmp_path: Path) -> None:
    config = loaded(rendered(values), tmp_path)
    assert (config.warnings, config.notices) == ((), ())


def test_a_broken_rules_file_keeps_no_agent_from_starting(default: list[Manifest], tmp_path: Path) -> None:
    assert loaded(default, tmp_path).broken_rules_files == "skip"


def test_the_configuration_names_the_files_that_are_mounted(everything: list[Manifest], tmp_path: Path) -> None:
    config = loaded(everything, tmp_path)
    paths = mounts(everything)
    assert [path for path in config.rules_files if path in paths] == ["/etc/falco/values.d", "/etc/falco/rules.d"]
    assert config.outputs.http
    assert config.outputs.http.spool_directory in paths
    rules, custom = (volumes(everything)[paths[path]["name"]] for path in ("/etc/falco/rules.d", "/etc/falco/values.d"))
    assert one(everything, "ConfigMap", custom["configMap"]["name"])["data"].items() >= ALL["customRules"].items()
    assert rules["configMap"] == {"name": "falco-rules", "optional": True}


def test_people_edit_a_config_map_that_helm_makes_once_and_never_removes(default: list[Manifest]) -> None:
    rules = one(default, "ConfigMap", "falco-rules")
    assert rules["metadata"]["annotations"] == {
        "helm.sh/hook": "pre-install,pre-upgrade",
        "helm.sh/hook-delete-policy": "hook-failed",  # not Helm's default, which removes what is there
    }
    text = rules["data"]["falco_rules.local.yaml"]
    assert yaml.safe_load(text) is None
    example = re.sub(r"^# ?", "", text[text.index("# - rule:") :], flags=re.MULTILINE)
    assert yaml.safe_load(example)[0]["rule"] == "Compiler started"
    assert all(line == line.rstrip() for line in text.splitlines())  # else kubectl shows it as one long line


@pytest.mark.parametrize(
    ("image", "names"),
    [
        ({}, ["localhost/falco-py"]),
        ({"registry": "registry.example:5000", "repository": "a/b"}, ["registry.example:5000/a/b"]),
        ({"registry": ""}, ["falco-py", "docker.io/library/falco-py"]),
        ({"registry": "", "repository": "team/agent"}, ["team/agent", "docker.io/team/agent"]),
        ({"registry": "", "repository": "ghcr.io/team/agent"}, ["ghcr.io/team/agent"]),
    ],
)
def test_the_default_rules_know_the_agent_by_the_image_that_is_deployed(image: Manifest, names: list[str]) -> None:
    manifests = rendered({"image": {**image, "tag": "1", "digest": "sha256:" + "0" * 64}})
    own = yaml.safe_load(one(manifests, "ConfigMap", "falco-py-custom-rules")["data"]["00-agent.yaml"])
    assert own == [{"list": "falco_agent_images", "items": names}]
    assert "- list: falco_agent_images\n" in (ROOT / "rules/falco_rules.yaml").read_text()


def test_without_the_default_rules_nothing_is_said_about_the_agent() -> None:
    manifests = rendered({"falco": {"rules_files": ["/etc/falco/rules.d"]}})
    assert not one(manifests, "ConfigMap", "falco-py-custom-rules").get("data")


def test_the_image_is_the_one_that_make_image_builds(default: list[Manifest]) -> None:
    built = re.search(r"^IMAGE=(\S+):\$VERSION$", (ROOT / "scripts/image.sh").read_text(), re.MULTILINE)
    assert built
    assert agent_of(default)["image"] == f"{built[1]}:{__version__}"


def test_the_config_map_of_rules_can_be_left_to_somebody_else() -> None:
    assert "falco-rules" not in {m["metadata"]["name"] for m in rendered({"rules": {"create": False}})}


# The webhook


def variables(manifests: list[Manifest]) -> dict[str, dict[str, str]]:
    """Of Secrets: name of the variable to the name and the key of the Secret."""
    return {
        variable["name"]: variable["valueFrom"]["secretKeyRef"]
        for variable in agent_of(manifests)["env"]
        if "secretKeyRef" in variable.get("valueFrom", {})
    }


def test_what_is_secret_of_the_webhook_reaches_the_agent_by_variables_only(
    everything: list[Manifest], tmp_path: Path, environment: pytest.MonkeyPatch
) -> None:
    secret = one(everything, "Secret")
    for name, source in variables(everything).items():
        own = source["name"] == "own"
        environment.setenv(name, "from own" if own else secret["stringData"][source["key"]])
    http = loaded(everything, tmp_path).outputs.http
    assert http
    assert http.url == "https://receiver.example/secret"
    assert dict(http.headers) == {"Authorization": "Bearer made", "X-Other": "1", "X-Token": "from own"}
    told = [str(m) for m in everything if m["kind"] != "Secret"]
    assert not [text for text in told if "receiver.example" in text or "Bearer made" in text]


def test_the_url_may_come_from_a_secret_of_ones_own() -> None:
    manifests = rendered({"webhook": {"enabled": True, "existingSecret": "own", "urlKey": "where"}})
    assert variables(manifests) == {"FALCO_WEBHOOK_URL": {"name": "own", "key": "where"}}
    assert "Secret" not in kinds(manifests)


def test_a_changed_secret_of_the_chart_starts_pods_anew() -> None:
    first, second = (
        one(rendered({"webhook": {"enabled": True, "url": url}}), "DaemonSet")["spec"]["template"]["metadata"]
        for url in ("https://a.example", "https://b.example")
    )
    assert first != second


def test_pods_without_the_variables_keep_a_falco_yaml_that_does_without_them(default: list[Manifest]) -> None:
    def mounted(manifests: list[Manifest]) -> str:
        name: str = volumes(manifests)["config"]["configMap"]["name"]
        return name

    first, second, third = (
        mounted(rendered({"webhook": {"enabled": True, "url": "https://a.example", **more}}))
        for more in ({}, {"format": "slack"}, {"headers": {"X-A": "b"}})
    )
    assert mounted(default) == "falco-py"
    assert first == second
    assert len({mounted(default), first, third}) == 3
    assert mounted(rendered({"extra": {"env": [{"name": "A", "value": "b"}]}})) != mounted(default)


# Prometheus and Grafana


def test_metrics_are_served_and_the_service_leads_to_them(tmp_path: Path) -> None:
    manifests = rendered({"metrics": {"enabled": True}})
    config = loaded(manifests, tmp_path)
    assert config.metrics
    assert config.webserver
    assert config.webserver.prometheus_metrics_enabled
    assert not config.metrics.output_rule
    assert one(manifests, "Service", "falco-py-metrics")["spec"]["ports"][0]["targetPort"] == "web"


def test_the_service_monitor_finds_the_service_of_metrics_only(everything: list[Manifest]) -> None:
    monitor = one(everything, "ServiceMonitor")["spec"]
    chosen = [
        service["metadata"]["name"]
        for service in everything
        if service["kind"] == "Service"
        and monitor["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    ]
    assert chosen == ["falco-py-metrics"]
    assert monitor["endpoints"][0]["port"] == one(everything, "Service", chosen[0])["spec"]["ports"][0]["name"]


def test_promtool_accepts_the_rules(everything: list[Manifest], tmp_path: Path) -> None:
    file = tmp_path / "rules.yaml"
    file.write_text(yaml.safe_dump(one(everything, "PrometheusRule")["spec"]))
    done = subprocess.run(
        ["promtool", "check", "rules", "--lint-fatal", file], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr + done.stdout
    assert "10 rules found" in done.stdout + done.stderr


def expressions(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        for key, value in node.items():
            if key in ("expr", "query") and isinstance(value, str):
                yield value
            else:
                yield from expressions(value)
    elif isinstance(node, list):
        for value in node:
            yield from expressions(value)


def dashboard(manifests: list[Manifest]) -> Any:
    return json.loads(one(manifests, "ConfigMap", "falco-py-dashboard")["data"]["falco-py.json"])


def test_dashboard_and_rules_name_only_metrics_and_labels_that_exist(everything: list[Manifest]) -> None:
    documented = set(re.findall(r"falcosecurity_\w+", (ROOT / "docs/metrics.md").read_text()))
    known = {metric.name for metric in table.METRICS if metric.name}
    named = {
        name
        for source in (one(everything, "PrometheusRule"), dashboard(everything))
        for text in expressions(source)
        for name in re.findall(r"falcosecurity_\w+", text)
    }
    assert len(named) > 20
    assert named <= known & documented


def test_every_panel_asks_something_promtool_understands(everything: list[Manifest], tmp_path: Path) -> None:
    panels = [panel for panel in dashboard(everything)["panels"] if panel["type"] != "row"]
    rules = [
        {"record": f"panel:{panel['id']}:{target['refId']}", "expr": _plain(target["expr"])}
        for panel in panels
        for target in panel["targets"]
    ]
    file = tmp_path / "panels.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    done = subprocess.run(["promtool", "check", "rules", file], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr + done.stdout
    assert len({panel["id"] for panel in panels}) == len(panels)


def _plain(expression: str) -> str:
    return expression.replace("$__rate_interval", "5m")


def test_panels_do_not_lie_over_each_other(everything: list[Manifest]) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in dashboard(everything)["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert at["x"] + at["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells


# Values


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"tolerationz": []}, "tolerationz"),
        ({"image": {"tagg": "1"}}, "tagg"),
        ({"falco": {"json_outputt": True}}, "json_outputt"),
        ({"falco": {"http_output": {"urll": "x"}}}, "urll"),
        ({"driver": {"kind": "modern_ebpf"}}, "driver"),
    ],
)
def test_a_misspelt_key_is_refused_by_name(values: Manifest, told: str) -> None:
    with pytest.raises(HelmError, match=told):
        rendered(values)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"privileged": "yes"}, "privileged"),
        ({"falco": {"json_output": "on"}}, "json_output"),
        ({"tolerations": {"operator": "Exists"}}, "tolerations"),
        ({"webhook": {"url": "receiver.example"}}, "url"),
        ({"capabilities": ["CAP_BPF"]}, "capabilities"),
        ({"hostMounts": {"runtimes": ["run/containerd"]}}, "runtimes"),
        ({"hostMounts": {"runtimes": ["crio"]}}, "runtimes"),
        ({"customRules": {"site.txt": ""}}, "site.txt"),
        ({"healthChecks": {"livenessProbe": {"periodSeconds": 0}}}, "periodSeconds"),
    ],
)
def test_a_value_of_the_wrong_kind_is_refused_by_name(values: Manifest, told: str) -> None:
    with pytest.raises(HelmError, match=told):
        rendered(values)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"webhook": {"enabled": True}}, "set webhook.url, or webhook.existingSecret"),
        ({"webhook": {"enabled": True, "url": "http://a", "headerKeys": {"A": "b"}}}, "set webhook.existingSecret"),
        ({"serviceMonitor": {"create": True}}, "serviceMonitor.create needs metrics.enabled"),
        ({"prometheusRule": {"create": True}}, "prometheusRule.create needs metrics.enabled"),
        ({"grafana": {"dashboards": {"enabled": True}}}, "grafana.dashboards.enabled needs metrics.enabled"),
    ],
)
def test_what_does_not_go_together_is_said_at_install(values: Manifest, told: str) -> None:
    with pytest.raises(HelmError, match=re.escape(told)):
        rendered(values)


def test_every_value_is_documented() -> None:
    assert [value.key for value in values_page.values() if not value.text] == []


def test_the_schema_knows_every_value_and_no_other() -> None:
    def keys(node: Any, prefix: str) -> Iterator[str]:
        for key, value in node.items():
            yield prefix + key
            if isinstance(value, dict):
                yield from keys(value, f"{prefix}{key}.")

    def allowed(node: Any, prefix: str) -> Iterator[str]:
        for key, value in node.get("properties", {}).items():
            yield prefix + key
            yield from allowed(value, f"{prefix}{key}.")

    values = yaml.safe_load((CHART / "values.yaml").read_text())
    schema = json.loads((CHART / "values.schema.json").read_text())
    free = ("falco.", "resources.", "healthChecks.", "updateStrategy.rollingUpdate.")  # take more than the defaults
    named = {key for key in keys(values, "") if not key.startswith(free)}
    known = {key for key in allowed(schema, "") if not key.startswith(free)} - {"global"}
    assert named - {"grafana.dashboards.labels.grafana_dashboard"} == known


def test_what_is_made_from_values_and_the_agents_schema_is_up_to_date() -> None:
    assert values_page.schema() == (CHART / "values.schema.json").read_text(), "run make docs"
    assert values_page.page() == values_page.PAGE.read_text(), "run make docs"


def test_the_page_names_only_values_that_exist() -> None:
    text = values_page.PAGE.read_text().partition("## Coming from")[0]
    schema = json.loads((CHART / "values.schema.json").read_text())
    for words in re.findall(r"--set(?:-string)? '?([\w.]+)=", text):
        node = schema
        for word in words.split("."):
            node = node.get("properties", {}).get(word) or node.get("additionalProperties")
            assert node, words
    for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL):
        assert rendered(yaml.safe_load(block) | {"metrics": {"enabled": True}})


# helm test


def test_the_test_runs_the_agents_own_image_without_any_power(default: list[Manifest]) -> None:
    pod = one(default, "Pod")["spec"]
    [container] = pod["containers"]
    assert container["image"] == agent_of(default)["image"]
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["automountServiceAccountToken"] is False
    compile(container["args"][0], "ask.py", "exec")


def notes(values: Manifest, tmp_path: Path, *flags: str) -> str:
    """What helm install says at its end, which 'helm template' does not show by itself."""
    chart = shutil.copytree(CHART, tmp_path / "chart", dirs_exist_ok=True)
    shown = chart / "templates/shown.yaml"
    shown.write_text('told: {{ include (print .Template.BasePath "/NOTES.txt") . | toJson }}\n')
    told = helm(
        "template", RELEASE, str(chart), "--namespace", NAMESPACE, "--show-only", "templates/shown.yaml",
        "--values", "-", *flags, stdin=json.dumps(values),
    )  # fmt: skip
    return str(yaml.safe_load(told)["told"])


def test_notes_tell_the_three_next_commands(tmp_path: Path) -> None:
    told = notes({}, tmp_path)
    commands = [line.strip() for line in told.splitlines() if line.startswith("  kubectl")]
    assert commands == [
        "kubectl -n security rollout status daemonset/falco-py",
        "kubectl -n security logs -l app=falco-py -f --prefix",
        "kubectl -n security edit configmap falco-rules",
    ]
    assert "ConfigMap falco-rules is yours" in told
    assert "An edit is in force within seconds." in told
    assert "'kubectl -n security delete configmap falco-rules' removes it" in told
    assert "within about a minute" in notes({"kubernetes": {"watchRules": False}}, tmp_path)


def test_notes_warn_of_what_a_choice_costs(tmp_path: Path) -> None:
    told = notes({"privileged": True, "webhook": {"enabled": True, "url": "http://a"}}, tmp_path)
    assert "runs privileged" in told
    assert "--set spool.hostPath=" in told
    assert "make it yourself" in notes({"rules": {"create": False}}, tmp_path)
