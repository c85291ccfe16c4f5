# SPDX-License-Identifier: Apache-2.0
"""Fields of the container: `container.*`.

The id comes from the cgroup and is known at once, everything else from `e.process.container`, the facts that
enrichment found out; without facts they are missing. For the host, id, name and type are "host".
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Protocol

from .model import Field, FieldType, fixed
from .proc import duration, epoch

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from falco_py.events.event import Event

T = FieldType
HOST = "host"
MISSING = "container.missing"
NO_FILES = "no_files"
NO_POD = "no_pod"
NO_STATUS = "no_status"
API_AWAY = "api_away"
PART = "part"
REASONS = {
    NO_FILES: "no files of a container runtime name it",
    NO_POD: "the API server does not know its pod",
    NO_STATUS: "no files of a container runtime name it, and neither does its pod's status so far",
    API_AWAY: "the API server has not answered so far",
    PART: "the files of its container runtime tell only a part so far",
}
_HIDDEN_LABELS = ("annotation.", "io.kubernetes.")


class Mount(Protocol):
    """One mount of a container. `rdwr` is whether it may be written."""

    source: str
    destination: str
    mode: str
    rdwr: bool
    propagation: str


class ContainerFacts(Protocol):
    """What enrichment puts into `Process.container`. Empty text and None both mean unknown."""

    name: str
    type: str
    image: str
    image_id: str
    image_repository: str
    image_tag: str
    image_digest: str
    privileged: bool | None
    mounts: Sequence[Mount]
    labels: Mapping[str, str]
    ip: str
    cni_json: str
    host_pid: bool | None
    host_network: bool | None
    host_ipc: bool | None
    pod_name: str
    pod_namespace: str
    pod_uid: str
    pod_sandbox_id: str
    pod_labels: Mapping[str, str]
    pod_ip: str


def fact(e: Event, name: str) -> Any:
    """A fact of the container; None on the host and before it is known."""
    facts = e.process.container
    if facts is None:
        return None
    value = getattr(facts, name, None)
    return None if value == "" else value


def container_name(e: Event) -> str | None:
    if not e.process.container_id:
        return HOST
    found = fact(e, "name")
    return None if found is None else str(found)


def container_type(e: Event) -> str:
    """The runtime; until enrichment says it, what the cgroup path tells."""
    process = e.process
    if not process.container_id:
        return HOST
    return str(fact(e, "type") or process.container_engine)


def container_start(e: Event) -> int | None:
    process = e.process
    return epoch(e, process.pidns_start_ns) if process.container_id else None


def container_duration(e: Event) -> int | None:
    process = e.process
    return duration(e, process.pidns_start_ns) if process.container_id else None


def container_missing(e: Event) -> str | None:
    process = e.process
    why = e.table.facts.missing(process.full_container_id) if process.full_container_id else ""
    return REASONS.get(why, why) or None


def _mount_text(mount: Mount) -> str:
    rdwr = "true" if mount.rdwr else "false"
    return f"{mount.source}:{mount.destination}:{mount.mode}:{rdwr}:{mount.propagation}"


def mounts_text(e: Event) -> str | None:
    mounts = fact(e, "mounts")
    return None if mounts is None else ",".join(map(_mount_text, mounts))


def mount_text(e: Event, which: int | str) -> str | None:
    found = _mount(e, which, "source")
    return None if found is None else _mount_text(found)


def mount_part(e: Event, part: str, which: int | str) -> str | None:
    found = _mount(e, which, "destination" if part == "source" else "source")
    if found is None:
        return None
    value = getattr(found, part, None)
    return None if value is None else str(value).lower() if part == "rdwr" else str(value)


def _mount(e: Event, which: int | str, by: str) -> Any:
    """A mount by its number, or the first whose `by` path matches a shell pattern."""
    mounts = fact(e, "mounts") or ()
    if isinstance(which, int):
        return mounts[which] if which < len(mounts) else None
    return next((mount for mount in mounts if fnmatchcase(getattr(mount, by), which)), None)


def label_of(e: Event, name: str, key: str) -> str | None:
    labels = fact(e, name)
    return None if labels is None else labels.get(key)


def label_items(e: Event, name: str) -> tuple[str, ...] | None:
    labels = fact(e, name)
    if not labels:
        return None
    return tuple(f"{key}:{value}" for key, value in labels.items() if not key.startswith(_HIDDEN_LABELS)) or None


def labels_text(e: Event, name: str) -> str | None:
    items = label_items(e, name)
    return None if items is None else ", ".join(items)


def _which(arg: str | None) -> int | str:
    text = arg or ""
    return int(text) if text.isascii() and text.isdigit() else text


def _mount_error(arg: str) -> str | None:
    return None if arg else "the argument is a number or a pattern for a path"


_K = "container"


def _row(name: str, doc: str, expression: str, kind: FieldType = T.CHARBUF, **more: Any) -> Field:
    return Field(name=name, klass=_K, type=kind, doc=doc, code=fixed(expression), **more)


def _part_row(part: str, doc: str) -> Field:
    attribute = "destination" if part == "dest" else part
    return Field(
        name=f"container.mount.{part}",
        klass=_K,
        type=T.CHARBUF,
        doc=doc,
        code=lambda arg: f"mount_part(e, {attribute!r}, {_which(arg)!r})",
        arg="required",
        check_arg=_mount_error,
    )


ROWS: tuple[Field, ...] = (
    _row(
        "container.id",
        "First 12 characters of the container's id, host outside containers.",
        "(e.process.container_id or 'host')",
        suggested=True,
        process_fixed=True,
        longest_bytes=12,
    ),
    _row(
        "container.full_id", "Whole id of the container.", "(e.process.full_container_id or 'host')", process_fixed=True
    ),
    _row("container.name", "Name of the container.", "container_name(e)", suggested=True),
    _row("container.image", "Image as name:tag.", "fact(e, 'image')"),
    _row("container.image.id", "Id of the image.", "fact(e, 'image_id')"),
    _row("container.type", "Runtime: docker, containerd, cri-o, podman, cri, lxc, ... or host.", "container_type(e)"),
    _row("container.privileged", "Whether the container is privileged.", "fact(e, 'privileged')", T.BOOL),
    _row("container.mounts", "All mounts as source:destination:mode:rdwr:propagation.", "mounts_text(e)"),
    Field(
        name="container.mount",
        klass=_K,
        type=T.CHARBUF,
        doc="One mount, by its number or by a pattern for its source path.",
        code=lambda arg: f"mount_text(e, {_which(arg)!r})",
        arg="required",
        check_arg=_mount_error,
    ),
    _part_row("source", "Source of one mount, by number or by a pattern for its destination."),
    _part_row("dest", "Destination of one mount, by number or by a pattern for its source."),
    _part_row("mode", "Mode of one mount, by number or by a pattern for its source."),
    _part_row("rdwr", "Whether one mount may be written, by number or by a pattern for its source."),
    _part_row("propagation", "Propagation of one mount, by number or by a pattern for its source."),
    _row("container.image.repository", "Image without tag and digest.", "fact(e, 'image_repository')", suggested=True),
    _row("container.image.tag", "Tag of the image.", "fact(e, 'image_tag')", suggested=True),
    _row("container.image.digest", "Digest of the image in its registry.", "fact(e, 'image_digest')"),
    *(
        _row(f"container.{name}", "No longer supported.", "None", deprecated=True)
        for name in ("healthcheck", "liveness_probe", "readiness_probe")
    ),
    _row("container.start_ts", "Start of the container, epoch ns.", "container_start(e)", T.ABSTIME),
    _row("container.duration", "Time since the container started, ns.", "container_duration(e)", T.RELTIME),
    _row(
        MISSING,
        "Why facts of the container are not known; missing when they are. Alerts without them have it in their fields.",
        "container_missing(e)",
    ),
    _row("container.ip", "Address of the container.", "fact(e, 'ip')"),
    _row("container.cni.json", "Result of the network plugin.", "fact(e, 'cni_json')"),
    _row("container.host_pid", "Whether it shares the host's pid namespace.", "fact(e, 'host_pid')", T.BOOL),
    _row("container.host_network", "Whether it shares the host's network.", "fact(e, 'host_network')", T.BOOL),
    _row("container.host_ipc", "Whether it shares the host's ipc namespace.", "fact(e, 'host_ipc')", T.BOOL),
    Field(
        name="container.label",
        klass=_K,
        type=T.CHARBUF,
        doc="One label: container.label[key].",
        code=lambda arg: f"label_of(e, 'labels', {arg!r})",
        arg="required",
        arg_kind="key",
    ),
    _row("container.labels", "All labels as key:value.", "labels_text(e, 'labels')"),
    *(
        _row(f"proc.is_container_{name}", "No longer supported.", "None", T.BOOL, deprecated=True)
        for name in ("healthcheck", "liveness_probe", "readiness_probe")
    ),
)
