# SPDX-License-Identifier: Apache-2.0
"""A bundle's config.json (OCI runtime specification) becomes facts that every runtime has in common.

"Privileged" is not written there: it shows in what a privileged container gets and others do not, all of it together.
Invariant: any JSON object will do; what does not have the shape of the specification is passed over.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any, Final

from ..bounds import dict_of, items_of, text_of, texts_of
from .facts import Facts, Mount, bounded

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

CONFIG: Final = "config.json"
_ALL_RIGHTS: Final = frozenset(("CAP_SYS_ADMIN", "CAP_SYS_MODULE", "CAP_SYS_RAWIO", "CAP_SYS_PTRACE", "CAP_NET_ADMIN"))
_OWN: Final = re.compile(r"/io\.containerd\.grpc\.v1\.cri/sandboxes/|-containers/[0-9a-f]{64}/userdata/")
_OF_PROCESS: Final = re.compile(r"/proc/([0-9]{1,10})/ns/(pid|net|ipc)")
_FIRST: Final = {"pid": "pid:[4026531836]", "ipc": "ipc:[4026531839]"}  # include/linux/proc_ns.h
_NAMESPACES: Final = (("host_pid", "pid", "pid"), ("host_network", "network", "net"), ("host_ipc", "ipc", "ipc"))


def take_spec(facts: Facts, spec: Mapping[str, Any], proc: str) -> None:
    """`proc`: the host's /proc, by which a namespace of another process is told from the host's."""
    linux = dict_of(spec.get("linux"))
    facts.privileged = is_privileged(spec)
    facts.mounts = bounded(_mounts(spec))
    paths = {text_of(one.get("type")): text_of(one.get("path")) for one in items_of(linux.get("namespaces"))}
    for name, kind, link in _NAMESPACES:
        setattr(facts, name, _is_hosts(paths.get(kind), link, proc))


def annotations_of(spec: Mapping[str, Any]) -> Mapping[str, Any]:
    return dict_of(spec.get("annotations"))


def is_privileged(spec: Mapping[str, Any]) -> bool:
    """All capabilities, and either every device or nothing of /proc and /sys hidden."""
    capabilities = dict_of(dict_of(spec.get("process")).get("capabilities"))
    if not _ALL_RIGHTS.issubset(texts_of(capabilities.get("bounding"))):
        return False
    linux = dict_of(spec.get("linux"))
    allowed = False
    for device in items_of(dict_of(linux.get("resources")).get("devices")):
        if device.get("type") in (None, "", "a") and device.get("major") is None and device.get("minor") is None:
            allowed = device.get("allow") is True
    return allowed or not (linux.get("maskedPaths") or linux.get("readonlyPaths"))


def _mounts(spec: Mapping[str, Any]) -> Iterator[Mount]:
    """What is bound from elsewhere, without the files that runtimes make for each container."""
    for mount in items_of(spec.get("mounts")):
        source, options = text_of(mount.get("source")), texts_of(mount.get("options"))
        bound = mount.get("type") == "bind" or not {"bind", "rbind"}.isdisjoint(options)
        if bound and not _OWN.search(source):
            yield Mount(source, text_of(mount.get("destination")), "", "ro" not in options, _spread(options))


def _spread(options: list[str]) -> str:
    """In Falco's words for CRI: `private` has no r."""
    for option in options:
        if option in ("rslave", "slave", "rshared", "shared"):
            return option
        if option in ("rprivate", "private"):
            break
    return "private"


def _is_hosts(path: str | None, link: str, proc: str) -> bool | None:
    """A namespace that is not named is the host's; one without a path is new, one with a path may be anybody's."""
    if not path:
        return path is None
    found = _OF_PROCESS.fullmatch(path)
    if found is None or found.group(2) != link:
        return False
    try:
        own = os.readlink(f"{proc}/{found.group(1)}/ns/{link}")
        return own == (_FIRST.get(link) or os.readlink(f"{proc}/1/ns/{link}"))
    except OSError:
        return None
