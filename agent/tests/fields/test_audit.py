# SPDX-License-Identifier: Apache-2.0
"""The fields of the audit log, read from an event of the API server's form and from events that are not."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from falco_py.fields.catalogue import CATALOGUE, lookup
from tests.fields import made

POD: dict[str, Any] = {
    "auditID": "1", "verb": "create", "stage": "ResponseComplete", "userAgent": "kubectl",
    "sourceIPs": ["10.0.0.1", "::1"],
    "requestURI": "/api/v1/namespaces/default/pods?fieldManager=a%20b&limit=5&limit=6",
    "user": {"username": "jane", "groups": ["dev", "system:authenticated"]},
    "annotations": {"authorization.k8s.io/decision": "allow"},
    "objectRef": {"resource": "pods", "namespace": "default"},
    "responseStatus": {"code": 201},
    "responseObject": {"metadata": {"name": "web-1"}},
    "requestObject": {
        "kind": "Pod",
        "spec": {
            "hostNetwork": True,
            "securityContext": {"runAsUser": 7, "supplementalGroups": [1, 2]},
            "containers": [
                {"name": "web", "image": "nginx:1.27@sha256:0", "args": ["a", "b c"], "ports": [{"containerPort": 80}],
                 "securityContext": {"privileged": True, "capabilities": {"add": ["NET_ADMIN", "SYS_TIME"]}}},
                {"name": "log", "image": "reg/log",
                 "ports": [{"hostPort": 9, "containerPort": 8}, {"containerPort": 7}],
                 "securityContext": {"runAsUser": 5}},
            ],
            "volumes": [{"name": "v", "hostPath": {"path": "/var/run/docker.sock"}}, {"name": "w", "emptyDir": {}}],
        },
    },
}  # fmt: skip
ROLE: dict[str, Any] = {
    "auditID": "2",
    "requestObject": {
        "rules": [{"verbs": ["get", "list"], "resources": ["pods"]}, {"verbs": ["*"], "nonResourceURLs": ["/x"]}],
        "roleRef": {"name": "cluster-admin"},
        "subjects": [
            {"kind": "User", "name": "jane"}, {"kind": "ServiceAccount", "name": "s", "namespace": "n"},
            {"kind": "Group", "name": "g"},
        ],
        "data": {"k": "v"},
    },
}  # fmt: skip


def value(written: str, audit: Any) -> Any:
    found = lookup(written)
    assert found is not None
    field, arg = found
    return made.compiled(field.code(arg))(SimpleNamespace(audit=audit, ts=17))


@pytest.mark.parametrize(
    ("field", "wanted"),
    [
        ("ka.verb", "create"), ("ka.response.code", "201"), ("ka.auth.decision", "allow"), ("ka.auth.reason", None),
        ("ka.user.groups", ("dev", "system:authenticated")), ("ka.impuser.name", None),
        ("ka.uri.param[fieldManager]", "a b"), ("ka.uri.param[limit]", "5"), ("ka.uri.param[x]", None),
        ("ka.target.pod.name", "web-1"), ("ka.req.pod.host_network", "true"), ("ka.req.pod.host_pid", None),
        ("ka.req.pod.containers.name", ("web", "log")), ("ka.req.pod.containers.name[1]", ("log",)),
        ("ka.req.pod.containers.name[2]", None), ("ka.req.pod.initContainers.name", None),
        ("ka.req.pod.containers.image.repository", ("nginx", "reg/log")),
        ("ka.req.pod.containers.args", ("a b c",)), ("ka.req.pod.containers.command", None),
        ("ka.req.pod.containers.privileged", ("true",)), ("ka.req.pod.containers.privileged[1]", None),
        ("ka.req.pod.containers.add_capabilities", ('["NET_ADMIN","SYS_TIME"]',)),
        ("ka.req.pod.containers.host_port", ("80", "9", "7")),
        ("ka.req.pod.containers.run_as_user", ("5",)), ("ka.req.pod.containers.eff_run_as_user", ("7", "5")),
        ("ka.req.pod.containers.eff_run_as_group", ("0", "0")), ("ka.req.pod.supplemental_groups", ("1", "2")),
        ("ka.req.container.image", "nginx:1.27@sha256:0"), ("ka.req.container.privileged", "true"),
        ("ka.req.pod.volumes.hostpath", ("/var/run/docker.sock",)),
        ("ka.req.pod.volumes.volume_type", ("hostPath", "emptyDir")),
        ("ka.req.volume.hostpath[/var*]", "true"), ("ka.req.volume.hostpath[/var]", "false"),
        ("ka.sourceips", ("10.0.0.1", "::1")), ("ka.sourceips[1]", ("::1",)), ("ka.sourceips[2]", None),
        ("jevt.value[/user/username]", "jane"), ("json.value[/requestObject/spec/containers/1/name]", "log"),
        ("jevt.value[/annotations/authorization.k8s.io~1decision]", "allow"), ("jevt.value[/sourceIPs/2]", None),
        ("jevt.value[/user/groups]", '["dev","system:authenticated"]'), ("jevt.rawtime", "17"),
    ],
)  # fmt: skip
def test_a_pod_is_created(field: str, wanted: Any) -> None:
    assert value(field, POD) == wanted


@pytest.mark.parametrize(
    ("field", "wanted"),
    [
        ("ka.req.role.rules.verbs", ("get", "list", "*")), ("ka.req.role.rules.verbs[1]", ("*",)),
        ("ka.req.role.rules.resources[1]", None), ("ka.req.role.rules.nonResourceURLs", ("/x",)),
        ("ka.req.binding.subjects.user_names", ("jane",)), ("ka.req.binding.subjects.group_names", ("g",)),
        ("ka.req.binding.subjects.serviceaccount_ns_names", ("n:s",)), ("ka.req.binding.role", "cluster-admin"),
        ("ka.req.binding.subject.has_name[x]", "true"), ("ka.req.configmap.obj", '{"k":"v"}'),
        ("ka.req.container.privileged", None), ("ka.req.volume.hostpath[/x]", None), ("ka.req.service.ports", None),
    ],
)  # fmt: skip
def test_a_role_is_bound(field: str, wanted: Any) -> None:
    assert value(field, ROLE) == wanted


def test_an_image_that_one_container_lacks_is_missing_for_all() -> None:
    audit = {"auditID": "3", "requestObject": {"spec": {"containers": [{"name": "a", "image": "b"}, {"name": "c"}]}}}
    assert value("ka.req.pod.containers.image", audit) is None
    assert value("ka.req.pod.containers.name", audit) == ("a", "c")


def test_without_an_audit_id_nothing_is_known() -> None:
    assert value("ka.verb", {"verb": "get"}) is None


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(
        ["auditID", "requestObject", "objectRef", "spec", "containers", "volumes", "rules", "subjects", "kind", "name",
         "ports", "securityContext", "requestURI", "hostPath", "args", "image"]), inner, max_size=4),
    max_leaves=20,
)  # fmt: skip


@given(_JSON)
def test_no_json_raises(audit: Any) -> None:
    if isinstance(audit, dict):
        audit["auditID"] = "x"
    for name, field in CATALOGUE.items():
        if field.source == "k8s_audit":
            found = value(f"{name}[0]" if field.arg != "none" else name, audit)
            assert found is None or isinstance(found, tuple if field.is_list else str)
