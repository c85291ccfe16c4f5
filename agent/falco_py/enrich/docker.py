# SPDX-License-Identifier: Apache-2.0
"""docker's own files become facts.

config.v2.json is written when the container is made, and again when it runs: only then it has the address.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from ..bounds import bool_of, dict_of, text_of
from .facts import Facts, Found, Mount, bare_id, bounded

if TYPE_CHECKING:
    from collections.abc import Mapping

    from falco_py.state.cgroups import ContainerRef

    from .files import Files

ROOT: Final = "/var/lib/docker"
_ID: Final = re.compile("[0-9a-f]{64}")
_DRIVER: Final = re.compile("[a-z][a-z0-9-]{0,31}")
_LATEST: Final = "latest"  # what docker takes when nothing is named


def find(files: Files, ref: ContainerRef) -> Found | None:
    if not _ID.fullmatch(ref.full_id):
        return None
    config = files.read(ROOT, "containers", ref.full_id, "config.v2.json")
    if config is None:
        return None
    host = files.read(ROOT, "containers", ref.full_id, "hostconfig.json")
    facts = facts_of(config, host or {}, ref)
    driver = text_of(config.get("Driver"))
    if _DRIVER.fullmatch(driver):
        take_names(facts, files.kept(ROOT, "image", driver, "repositories.json"))
    running = dict_of(config.get("State")).get("Running") is True
    return Found(facts, host is not None and running)


def facts_of(config: Mapping[str, Any], host: Mapping[str, Any], ref: ContainerRef) -> Facts:
    facts = Facts(name=text_of(config.get("Name")).removeprefix("/"), type="docker", pod_uid=ref.pod_uid)
    settings = dict_of(config.get("Config"))
    facts.take_image(text_of(settings.get("Image")))
    facts.image_id = bare_id(config.get("Image"))
    if facts.image and not facts.image_tag and not facts.image_digest:
        facts.image_tag = _LATEST
    facts.take_labels(settings.get("Labels"))
    facts.mounts = bounded(
        Mount(
            text_of(one.get("Source")), text_of(one.get("Destination")), text_of(one.get("Relabel")),
            one.get("RW") is True, text_of(one.get("Propagation")),
        )
        for one in map(dict_of, dict_of(config.get("MountPoints")).values())
    )  # fmt: skip
    networks = dict_of(dict_of(config.get("NetworkSettings")).get("Networks"))
    facts.ip = next((ip for one in networks.values() if (ip := text_of(dict_of(one).get("IPAddress")))), "")
    facts.privileged = bool_of(host.get("Privileged"))
    if host:
        facts.host_pid, facts.host_network, facts.host_ipc = (
            host.get(f"{name}Mode") == "host" for name in ("Pid", "Network", "Ipc")
        )
    return facts


def take_names(facts: Facts, repositories: object) -> None:
    """The digest, and for an image that was named by its id its name, from {repository: {reference: image id}}."""
    wanted = f"sha256:{facts.image_id}"
    for repository, references in dict_of(dict_of(repositories).get("Repositories")).items():
        names = [name for name, image in dict_of(references).items() if image == wanted]
        if not names:
            continue
        digest = next((name for name in names if name.startswith(f"{repository}@")), "")
        tagged = next((name for name in names if "@" not in name), "")
        if bare_id(facts.image) == facts.image_id and tagged:
            facts.take_image(text_of(tagged))
        if not facts.image_digest:
            facts.image_digest = text_of(digest).partition("@")[2]
