# SPDX-License-Identifier: Apache-2.0
"""Fields of the Kubernetes audit log: `ka.*`, read from the decoded JSON of one audit event.

`e.audit` is that object; an event that has none, or one without an `auditID`, has no value for any of these fields.
Invariant: texts stay as they are, other JSON becomes compact JSON text, and nothing raises whatever the JSON holds.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import parse_qs, urlsplit

from .model import Field, FieldType, fixed, index_error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SOURCE: Literal["k8s_audit"] = "k8s_audit"
_GROUPS = {
    "containers": "containers",
    "initContainers": "init containers",
    "ephemeralContainers": "ephemeral containers",
}


def json_text(value: Any) -> str | None:
    """A JSON value as a field shows it; null is no value."""
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _at(value: Any, *keys: str) -> Any:
    for key in keys:
        if not isinstance(value, dict):
            return None
        value = value.get(key)
    return value


def _audit(e: Any) -> Any:
    audit = getattr(e, "audit", None)
    return audit if isinstance(audit, dict) and audit.get("auditID") is not None else None


def _items(e: Any, *keys: str) -> list[Any] | None:
    found = _at(_audit(e), *keys)
    return found if isinstance(found, list) else None


def _some(texts: Iterator[Any] | list[Any]) -> tuple[str, ...] | None:
    """The texts of JSON values, those that are missing left out; None for none."""
    return tuple(text for one in texts if (text := json_text(one)) is not None) or None


def ka_text(e: Any, *keys: str) -> str | None:
    return json_text(_at(_audit(e), *keys))


def ka_texts(e: Any, *keys: str) -> tuple[str, ...] | None:
    return _some(_items(e, *keys) or [])


def ka_whole(e: Any, *keys: str) -> tuple[str, ...] | None:
    """The JSON text of a list as the only element."""
    found = _items(e, *keys)
    return None if found is None else _some([found] if found else [])


def ka_param(e: Any, name: str) -> str | None:
    uri = ka_text(e, "requestURI")
    if uri is None:
        return None
    try:
        return parse_qs(urlsplit(uri).query, keep_blank_values=True, max_num_fields=1000).get(name, [None])[0]
    except ValueError:
        return None


def ka_pod_name(e: Any) -> str | None:
    """Of requests about pods themselves."""
    if ka_text(e, "objectRef", "resource") != "pods" or ka_text(e, "objectRef", "subresource"):
        return None
    return ka_text(e, "responseObject", "metadata", "name")


def ka_subjects(e: Any, kind: str, with_namespace: bool = False) -> tuple[str, ...] | None:
    found = []
    for one in _items(e, "requestObject", "subjects") or []:
        name = json_text(_at(one, "name"))
        if _at(one, "kind") != kind or name is None:
            continue
        found.append(f"{json_text(_at(one, 'namespace')) or ''}:{name}" if with_namespace else name)
    return tuple(found) or None


def ka_has_name(e: Any) -> str | None:
    """Falco has said yes to everything since the field was replaced by the lists of names."""
    return None if _audit(e) is None else "true"


def _joined(words: Any) -> str | None:
    return " ".join(json_text(word) or "" for word in words) if isinstance(words, list) else None


def _repository(image: Any) -> str | None:
    """Falco's: what stands before the first colon, then before the at sign."""
    return image.split(":")[0].split("@")[0] if isinstance(image, str) else None


def _ports(one: Any) -> list[Any]:
    ports = _at(one, "ports")
    return [_at(p, "hostPort") or _at(p, "containerPort") for p in ports] if isinstance(ports, list) else []


def _security(*keys: str) -> Callable[[Any, Any], list[Any]]:
    return lambda one, _spec: [_at(one, "securityContext", *keys)]


def _effective(key: str) -> Callable[[Any, Any], list[Any]]:
    def read(one: Any, spec: Any) -> list[Any]:
        for holder in (one, spec):
            found = _at(holder, "securityContext", key)
            if found is not None:
                return [found]
        return ["0"]

    return read


# part -> (what it is, how it is read from a container and the pod's spec)
_PARTS: dict[str, tuple[str, Callable[[Any, Any], list[Any]]]] = {
    "args": ("The arguments", lambda one, _: [_joined(_at(one, "args"))]),
    "command": ("The commands", lambda one, _: [_joined(_at(one, "command"))]),
    "name": ("The names", lambda one, _: [_at(one, "name")]),
    "image": ("The images", lambda one, _: [_at(one, "image")]),
    "image.repository": ("The images without tag and digest", lambda one, _: [_repository(_at(one, "image"))]),
    "privileged": ("The settings of privileged", _security("privileged")),
    "allow_privilege_escalation": ("The settings of allowPrivilegeEscalation", _security("allowPrivilegeEscalation")),
    "read_only_fs": ("The settings of readOnlyRootFilesystem", _security("readOnlyRootFilesystem")),
    "run_as_user": ("The user ids asked for", _security("runAsUser")),
    "eff_run_as_user": ("The user ids, those of the pod and 0 filled in", _effective("runAsUser")),
    "run_as_group": ("The group ids asked for", _security("runAsGroup")),
    "eff_run_as_group": ("The group ids, those of the pod and 0 filled in", _effective("runAsGroup")),
    "proc_mount": ("The kinds of /proc", _security("procMount")),
    "add_capabilities": ("The capabilities added, a JSON list each", _security("capabilities", "add")),
    "host_port": ("The ports on the host, or else of the container", lambda one, _: _ports(one)),
}
_NEEDED = ("name", "image", "image.repository")  # one container without it, and the field has no value


def ka_containers(e: Any, group: str, part: str, index: int | None = None) -> tuple[str, ...] | None:
    """`part` of all containers of a pod that is asked for, or of the one with this index."""
    found: list[Any] = []
    spec = _at(_audit(e), "requestObject", "spec")
    containers = _at(spec, group)
    for number, one in enumerate(containers if isinstance(containers, list) else []):
        if index is not None and number != index:
            continue
        values = _PARTS[part][1](one, spec)
        if part in _NEEDED and values[0] is None:
            return None
        found += values
    return _some(found)


def ka_first_container(e: Any, part: str) -> str | None:
    found = ka_containers(e, "containers", part, 0)
    return found[0] if found else None


def ka_privileged(e: Any) -> str | None:
    if _items(e, "requestObject", "spec", "containers") is None:
        return None
    return "true" if "true" in (ka_containers(e, "containers", "privileged") or ()) else "false"


def ka_rules(e: Any, key: str, index: int | None = None) -> tuple[str, ...] | None:
    """`key` of the rules of a role, all in one."""
    found: list[Any] = []
    for number, one in enumerate(_items(e, "requestObject", "rules") or []):
        values = _at(one, key)
        if isinstance(values, list) and index in (None, number):
            found += values
    return _some(found)


def ka_volumes(e: Any, part: str, index: int | None = None) -> tuple[str, ...] | None:
    """`hostpath`, `flexvolume_driver` or `volume_type` of the volumes of a pod."""
    found: list[Any] = []
    for number, one in enumerate(_items(e, "requestObject", "spec", "volumes") or []):
        if index not in (None, number):
            continue
        if part == "volume_type":
            found += [key for key in one if key != "name"] if isinstance(one, dict) else []
        else:
            found.append(_at(one, "hostPath", "path") if part == "hostpath" else _at(one, "flexVolume", "driver"))
    return _some(found)


def ka_has_hostpath(e: Any, path: str) -> str | None:
    """Is `path`, or with a `*` at its end anything that begins so, mounted from the host?"""
    if _items(e, "requestObject", "spec", "volumes") is None:
        return None
    paths = ka_volumes(e, "hostpath") or ()
    fits = any(one.startswith(path[:-1]) for one in paths) if path.endswith("*") else path in paths
    return "true" if fits else "false"


def ka_source_ips(e: Any, index: int | None = None) -> tuple[str, ...] | None:
    found = ka_texts(e, "sourceIPs")
    return found if found is None or index is None else found[index : index + 1] or None


def _row(name: str, doc: str, code: Callable[[str | None], str], **more: Any) -> Field:
    return Field(name=name, klass=SOURCE, source=SOURCE, type=FieldType.CHARBUF, doc=doc, code=code, **more)


def _text(name: str, doc: str, *keys: str, **more: Any) -> Field:
    return _row(name, doc, fixed(f"ka_text(e, {', '.join(map(repr, keys))})"), **more)


def _list(name: str, doc: str, expression: str) -> Field:
    return _row(name, doc, fixed(expression), is_list=True)


def _indexed(name: str, doc: str, call: str) -> Field:
    """`call` lacks its last argument, the index."""

    def code(arg: str | None) -> str:
        return f"{call}, {int(arg) if arg is not None and arg.isdecimal() else None})"

    doc = f"{doc}; [n] picks one."
    return _row(name, doc, code, is_list=True, arg="optional", arg_kind="index", check_arg=index_error(name))


def _keyed(name: str, doc: str, call: str, **more: Any) -> Field:
    return _row(name, doc, lambda arg: f"{call}{arg!r})", arg="required", arg_kind="key", **more)


_ANNOTATIONS = {
    "auth.decision": ("The decision of the authorizer.", "authorization.k8s.io/decision"),
    "auth.reason": ("The reason of the authorizer.", "authorization.k8s.io/reason"),
    "auth.openshift.decision": ("OpenShift's decision on who it is.", "authentication.openshift.io/decision"),
    "auth.openshift.username": ("OpenShift's name of the user.", "authentication.openshift.io/username"),
    "validations.admission.policy.failure": (
        "What a validating admission policy rejected.", "validation.policy.admission.k8s.io/validation_failure"),
    "security.pod.violations": (
        "What the pod security admission noted.", "pod-security.kubernetes.io/audit-violations"),
    "cluster.name": ("The name of the cluster, as its provider notes it.", "cluster_name"),
}  # fmt: skip
_SPEC = ("requestObject", "spec")
ROWS: tuple[Field, ...] = (
    _text("ka.auditid", "The id of the request.", "auditID"),
    _text("ka.stage", "How far the request has come.", "stage"),
    *(_text(f"ka.{name}", doc, "annotations", key) for name, (doc, key) in _ANNOTATIONS.items()),
    _text("ka.user.name", "Who asks.", "user", "username"),
    _list("ka.user.groups", "The groups of who asks.", "ka_texts(e, 'user', 'groups')"),
    _text("ka.impuser.name", "As whom the request is made.", "impersonatedUser", "username"),
    _text("ka.verb", "What is to be done.", "verb"),
    _text("ka.uri", "The URI of the request.", "requestURI"),
    _keyed("ka.uri.param", "The value of a parameter of the URI.", "ka_param(e, "),
    _text("ka.target.name", "The name of the object.", "objectRef", "name"),
    _text("ka.target.namespace", "The namespace of the object.", "objectRef", "namespace"),
    _text("ka.target.resource", "The kind of the object, as `pods`.", "objectRef", "resource"),
    _text("ka.target.subresource", "The part of the object, as `exec`.", "objectRef", "subresource"),
    _row("ka.target.pod.name", "The name of the pod.", fixed("ka_pod_name(e)")),
    _list("ka.req.binding.subjects", "The subjects of a binding, as JSON.", "ka_texts(e, 'requestObject', 'subjects')"),
    _list("ka.req.binding.subjects.user_names", "The users among them.", "ka_subjects(e, 'User')"),
    _list("ka.req.binding.subjects.serviceaccount_names", "The service accounts among them.",
          "ka_subjects(e, 'ServiceAccount')"),
    _list("ka.req.binding.subjects.serviceaccount_ns_names", "The service accounts as `namespace:name`.",
          "ka_subjects(e, 'ServiceAccount', True)"),
    _list("ka.req.binding.subjects.group_names", "The groups among them.", "ka_subjects(e, 'Group')"),
    _text("ka.req.binding.role", "The role of a binding.", "requestObject", "roleRef", "name"),
    _row("ka.req.binding.subject.has_name", "Always `true`.", fixed("ka_has_name(e)"),
         arg="required", arg_kind="key", deprecated=True),
    _text("ka.req.configmap.name", "The name of the config map.", "objectRef", "name"),
    _text("ka.req.configmap.obj", "The data of the config map, as JSON.", "requestObject", "data"),
    *(
        _indexed(f"ka.req.pod.{group}.{part}", f"{doc} of the {spoken}", f"ka_containers(e, {group!r}, {part!r}")
        for group, spoken in _GROUPS.items()
        for part, (doc, _) in _PARTS.items()
        if (group, part) != ("ephemeralContainers", "host_port")
    ),
    _row("ka.req.container.image", "The image of the first container.",
         fixed("ka_first_container(e, 'image')"), deprecated=True),
    _row("ka.req.container.image.repository", "The same without tag and digest.",
         fixed("ka_first_container(e, 'image.repository')"), deprecated=True),
    _text("ka.req.container.host_network", "The same as ka.req.pod.host_network.", *_SPEC, "hostNetwork",
          deprecated=True),
    _row("ka.req.container.privileged", "Is any container privileged?", fixed("ka_privileged(e)"), deprecated=True),
    _text("ka.req.pod.host_ipc", "Is the pod in the host's IPC namespace?", *_SPEC, "hostIPC"),
    _text("ka.req.pod.host_network", "Is the pod in the host's network?", *_SPEC, "hostNetwork"),
    _text("ka.req.pod.host_pid", "Does the pod see the host's processes?", *_SPEC, "hostPID"),
    _text("ka.req.pod.run_as_user", "The user id asked for.", *_SPEC, "securityContext", "runAsUser"),
    _text("ka.req.pod.run_as_group", "The group id asked for.", *_SPEC, "securityContext", "runAsGroup"),
    _text("ka.req.pod.fs_group", "The group id of the volumes.", *_SPEC, "securityContext", "fsGroup"),
    _list("ka.req.pod.supplemental_groups", "Further group ids.",
          "ka_texts(e, 'requestObject', 'spec', 'securityContext', 'supplementalGroups')"),
    _list("ka.req.role.rules", "The rules of a role, as JSON.", "ka_texts(e, 'requestObject', 'rules')"),
    *(
        _indexed(f"ka.req.role.rules.{key}", f"The {key} of the rules of a role", f"ka_rules(e, {key!r}")
        for key in ("apiGroups", "nonResourceURLs", "verbs", "resources")
    ),
    _text("ka.req.service.type", "The type of the service.", *_SPEC, "type"),
    _row("ka.req.service.ports", "The ports of the service: one element, the JSON of all.",
         fixed("ka_whole(e, 'requestObject', 'spec', 'ports')"), is_list=True, arg="optional", arg_kind="index",
         check_arg=index_error("ka.req.service.ports")),
    _indexed("ka.req.pod.volumes.hostpath", "The paths mounted from the host", "ka_volumes(e, 'hostpath'"),
    _keyed("ka.req.volume.hostpath", "Is this path, or with `*` at its end what begins so, mounted from the host?",
           "ka_has_hostpath(e, ", deprecated=True),
    _indexed("ka.req.pod.volumes.flexvolume_driver", "The drivers of flex volumes",
             "ka_volumes(e, 'flexvolume_driver'"),
    _indexed("ka.req.pod.volumes.volume_type", "The types of the volumes", "ka_volumes(e, 'volume_type'"),
    _text("ka.resp.name", "The name of the object that came back.", "responseObject", "metadata", "name"),
    _text("ka.response.code", "The status code.", "responseStatus", "code"),
    _text("ka.response.reason", "The reason of the status.", "responseStatus", "reason"),
    _text("ka.useragent", "The program that asks.", "userAgent"),
    _indexed("ka.sourceips", "The addresses that the request came through", "ka_source_ips(e"),
)  # fmt: skip
