# SPDX-License-Identifier: Apache-2.0
"""Fields of Kubernetes: `k8s.*` and `k8smeta.*`, read from the facts of the container and its pod.

The pod's uid is also in the cgroup path, hence known at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .container import fact
from .model import Field, FieldType, fixed

if TYPE_CHECKING:
    from falco_py.events.event import Event

T = FieldType
_SHORT_ID = 12


def pod_uid(e: Event) -> str | None:
    return fact(e, "pod_uid") or e.process.pod_uid or None


def sandbox_id(e: Event) -> str | None:
    found = fact(e, "pod_sandbox_id")
    return None if found is None else str(found)[:_SHORT_ID]


def _row(name: str, doc: str, expression: str, klass: str = "k8s", **more: Any) -> Field:
    return Field(name=name, klass=klass, type=T.CHARBUF, doc=doc, code=fixed(expression), **more)


def _label_row(name: str, klass: str) -> Field:
    return Field(
        name=name,
        klass=klass,
        type=T.CHARBUF,
        doc=f"One label of the pod: {name}[key].",
        code=lambda arg: f"label_of(e, 'pod_labels', {arg!r})",
        arg="required",
        arg_kind="key",
    )


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
    _row("k8smeta.pod.name", "Name of the pod.", "fact(e, 'pod_name')", "k8smeta"),
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
    _row("k8smeta.ns.name", "Namespace of the pod.", "fact(e, 'pod_namespace')", "k8smeta"),
)

_NO_OWNERS = "needs objects of the Kubernetes API (owners, services, namespaces), which are not read yet"
REFUSED: dict[str, str] = {
    f"k8smeta.{kind}.{part}": _NO_OWNERS
    for kind, parts in (
        ("ns", ("uid", "label", "labels")),
        *((kind, ("name", "uid", "label", "labels")) for kind in ("deployment", "rs", "rc", "svc")),
    )
    for part in parts
}
