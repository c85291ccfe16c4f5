# SPDX-License-Identifier: Apache-2.0
"""Fields of Kubernetes: `k8s.*` and `k8smeta.*`, read from the facts of the container and its pod.

The pod's uid is also in the cgroup path, hence known at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from .container import fact
from .model import Field, FieldType, fixed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from falco_py.events.event import Event

T = FieldType
_SHORT_ID = 12


class ServiceFacts(Protocol):
    """A service that selects the pod."""

    name: str
    uid: str
    labels: Mapping[str, str]


class ObjectFacts(Protocol):
    """What `Process.container` has of the pod's objects beyond `container.ContainerFacts`; unknown ones may lack."""

    ns_uid: str
    ns_labels: Mapping[str, str]
    deployment_name: str
    deployment_uid: str
    deployment_labels: Mapping[str, str]
    rs_name: str
    rs_uid: str
    rs_labels: Mapping[str, str]
    rc_name: str
    rc_uid: str
    rc_labels: Mapping[str, str]
    owner_kind: str
    owner_name: str
    owner_uid: str
    services: Sequence[ServiceFacts]


def pod_uid(e: Event) -> str | None:
    return fact(e, "pod_uid") or e.process.pod_uid or None


def sandbox_id(e: Event) -> str | None:
    found = fact(e, "pod_sandbox_id")
    return None if found is None else str(found)[:_SHORT_ID]


def service_facts(e: Event, name: str) -> tuple[str, ...] | None:
    """One fact of each service that selects the pod."""
    return tuple(getattr(service, name) for service in fact(e, "services") or ()) or None


def service_label(e: Event, key: str) -> tuple[str, ...] | None:
    return tuple(service.labels[key] for service in fact(e, "services") or () if key in service.labels) or None


def service_labels(e: Event) -> tuple[str, ...] | None:
    services = fact(e, "services") or ()
    return tuple(f"{key}:{value}" for service in services for key, value in service.labels.items()) or None


def _row(name: str, doc: str, expression: str, klass: str = "k8s", **more: Any) -> Field:
    return Field(name=name, klass=klass, type=T.CHARBUF, doc=doc, code=fixed(expression), **more)


def _label_row(name: str, klass: str, facts: str = "pod_labels", of: str = "pod") -> Field:
    return Field(
        name=name,
        klass=klass,
        type=T.CHARBUF,
        doc=f"One label of the {of}: {name}[key].",
        code=lambda arg: f"label_of(e, {facts!r}, {arg!r})",
        arg="required",
        arg_kind="key",
    )


def _objects() -> tuple[Field, ...]:
    """The namespace and the owners of the pod."""
    rows = []
    for kind, what in (
        ("ns", "namespace"),
        ("deployment", "deployment"),
        ("rs", "replica set"),
        ("rc", "replication controller"),
    ):
        name, labels = f"k8smeta.{kind}", f"{kind}_labels"
        if kind != "ns":
            rows.append(_row(f"{name}.name", f"Name of the pod's {what}.", f"fact(e, '{kind}_name')", "k8smeta"))
        rows += [
            _row(f"{name}.uid", f"Uid of the pod's {what}.", f"fact(e, '{kind}_uid')", "k8smeta"),
            _label_row(f"{name}.label", "k8smeta", labels, what),
            _row(
                f"{name}.labels",
                f"Labels of the pod's {what}, key:value each.",
                f"label_items(e, {labels!r})",
                "k8smeta",
                is_list=True,
            ),
        ]
    return tuple(rows)


def _gone() -> tuple[Field, ...]:
    """Fields that Falco keeps in its list but no longer fills."""
    doc = "No longer filled; use the k8smeta field of that name."
    rows = []
    for kind in ("rc", "svc", "ns", "rs", "deployment"):
        parts = ("id", "labels") if kind == "ns" else ("name", "id", "labels")
        rows += [_row(f"k8s.{kind}.{part}", doc, "None", deprecated=True) for part in parts]
        rows.append(
            Field(
                name=f"k8s.{kind}.label",
                klass="k8s",
                type=T.CHARBUF,
                doc=doc,
                code=fixed("None"),
                arg="required",
                arg_kind="key",
                deprecated=True,
            )
        )
    return tuple(rows)


ROWS: tuple[Field, ...] = (
    _row("k8s.pod.name", "Name of the pod.", "fact(e, 'pod_name')", suggested=True),
    _row("k8s.ns.name", "Namespace of the pod.", "fact(e, 'pod_namespace')", suggested=True),
    _row("k8s.pod.id", "The same as k8s.pod.uid.", "pod_uid(e)"),
    _row("k8s.pod.uid", "Uid of the pod.", "pod_uid(e)"),
    _row("k8s.pod.sandbox_id", "First 12 characters of the id of the pod's sandbox.", "sandbox_id(e)"),
    _row("k8s.pod.full_sandbox_id", "Id of the pod's sandbox.", "fact(e, 'pod_sandbox_id')"),
    _label_row("k8s.pod.label", "k8s"),
    _row("k8s.pod.labels", "All labels of the pod as key:value.", "labels_text(e, 'pod_labels')"),
    _row("k8s.pod.ip", "Address of the pod.", "fact(e, 'pod_ip')"),
    _row("k8s.pod.cni.json", "Result of the network plugin.", "fact(e, 'cni_json')"),
    *_gone(),
    _row("k8smeta.pod.name", "Name of the pod.", "fact(e, 'pod_name')", "k8smeta", suggested=True),
    _row("k8smeta.pod.uid", "Uid of the pod.", "pod_uid(e)", "k8smeta"),
    _label_row("k8smeta.pod.label", "k8smeta"),
    _row(
        "k8smeta.pod.labels",
        "Labels of the pod, key:value each.",
        "label_items(e, 'pod_labels')",
        "k8smeta",
        is_list=True,
    ),
    _row("k8smeta.pod.ip", "Address of the pod.", "fact(e, 'pod_ip')", "k8smeta"),
    _row("k8smeta.ns.name", "Namespace of the pod.", "fact(e, 'pod_namespace')", "k8smeta", suggested=True),
    *_objects(),
    *(
        _row(
            f"k8smeta.owner.{part}",
            f"{part.capitalize()} of what made the pod: a Deployment, DaemonSet, StatefulSet, Job, CronJob, ...",
            f"fact(e, 'owner_{part}')",
            "k8smeta",
        )
        for part in ("kind", "name", "uid")
    ),
    _row("k8smeta.svc.name", "Services of the pod.", "service_facts(e, 'name')", "k8smeta", is_list=True),
    _row("k8smeta.svc.uid", "Uids of the pod's services.", "service_facts(e, 'uid')", "k8smeta", is_list=True),
    Field(
        name="k8smeta.svc.label",
        klass="k8smeta",
        type=T.CHARBUF,
        doc="One label of each service of the pod that has it: k8smeta.svc.label[key].",
        code=lambda arg: f"service_label(e, {arg!r})",
        arg="required",
        arg_kind="key",
        is_list=True,
    ),
    _row(
        "k8smeta.svc.labels",
        "Labels of the pod's services, key:value each.",
        "service_labels(e)",
        "k8smeta",
        is_list=True,
    ),
)

OF_THE_API: frozenset[str] = frozenset(row.name for row in ROWS if not row.deprecated) - {
    "k8s.pod.name", "k8s.ns.name", "k8s.pod.id", "k8s.pod.uid", "k8s.pod.sandbox_id", "k8s.pod.full_sandbox_id",
    "k8s.pod.cni.json", "k8smeta.pod.name", "k8smeta.pod.uid", "k8smeta.ns.name",
}  # fmt: skip
"""Fields that only the API server fills, on every runtime: the files of containers tell the others."""
