# SPDX-License-Identifier: Apache-2.0
"""The ConfigMap of the rules, as the API server tells of it, becomes rules files: name to text.

Invariant: what people may write there ends up as texts of files of that directory and nowhere else: names that lead
elsewhere are passed over, and so is all of `binaryData`.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ..config.problem import SettingError
from ..log import log
from .access import SERVICE_ACCOUNT
from .watch import Watch

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from .client import Client

NAMESPACE_FILE: Final = f"{SERVICE_ACCOUNT}/namespace"
MAX_BYTES: Final = 1 << 20  # of all texts together; the API server takes no more
_FILE: Final = re.compile(r"[-_A-Za-z0-9][-._A-Za-z0-9]*\.ya?ml")  # of a ConfigMap's keys


@dataclass(frozen=True, slots=True)
class Version:
    """One state of the ConfigMap."""

    texts: Mapping[str, str]
    uid: str
    resource_version: str


def namespace_and_name(text: str, namespace_file: str = NAMESPACE_FILE) -> tuple[str, str]:
    """Of `kubernetes.rules_configmap`. Raises config.problem.SettingError when it names no namespace outside a pod."""
    namespace, slash, name = text.rpartition("/")
    if slash:
        return namespace, name
    try:
        own = Path(namespace_file).read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        own = ""
    if not own:
        raise SettingError(
            "kubernetes.rules_configmap",
            f"the namespace of {text} is not known: this is no pod with a service account",
            f"write NAMESPACE/{text}.",
        )
    return own, name


class RulesMap:
    """A watch.Sink. `changed` is called in Background's thread when texts are other than before, or not known any more.

    `overlay`, `version` and `connected` may be read in any thread.
    """

    def __init__(self, client: Client, namespace: str, name: str, changed: Callable[[], None]) -> None:
        self.namespace = namespace
        self.name = name
        self.version: Version | None = None
        self.told = asyncio.Event()  # whether it is there
        self._changed = changed
        self._told = ""  # what the log has last
        path = f"/api/v1/namespaces/{namespace}/configmaps"
        self.watch = Watch(client, "configmaps", path, self, params={"fieldSelector": f"metadata.name={name}"})

    @property
    def connected(self) -> bool:
        return self.watch.connected

    def overlay(self) -> Mapping[str, str] | None:
        """The same object until the texts change; None while they are not known."""
        version = self.version
        return None if version is None else version.texts

    # As a sink

    def replace(self, objects: Sequence[Mapping[str, Any]]) -> None:
        found = next((one for one in objects if self._is_it(one)), None)
        self.told.set()
        if found is None:
            self._forget()
        else:
            self.put(found)

    def put(self, item: Mapping[str, Any]) -> None:
        if not self._is_it(item):
            return
        about = item["metadata"]
        texts = self._texts(item.get("data"))
        if texts is None:
            return
        before = self.version
        same = before is not None and before.texts == texts
        if before is not None and same:
            texts = before.texts
        self.version = Version(texts, str(about.get("uid", "")), str(about.get("resourceVersion", "")))
        if not same:
            self._changed()

    def remove(self, item: Mapping[str, Any]) -> None:
        if self._is_it(item):
            self._forget()

    def _forget(self) -> None:
        known, self.version = self.version is not None, None
        what = "was deleted" if known else "is not there"
        self._tell(f"{what}; rules are taken from where it is mounted")
        if known:
            self._changed()

    def _is_it(self, item: Mapping[str, Any]) -> bool:
        about = item.get("metadata")
        if not isinstance(about, dict):
            return False
        return bool(about.get("name") == self.name and about.get("namespace", self.namespace) == self.namespace)

    def _texts(self, data: Any) -> Mapping[str, str] | None:
        """None when it cannot be used: then what was known stays."""
        texts: dict[str, str] = {}
        strange = []
        size_bytes = 0
        for name, text in (data or {}).items():
            if not name.endswith((".yaml", ".yml")):
                continue
            if not _FILE.fullmatch(name) or not isinstance(text, str):
                strange.append(name)
                continue
            # Lone surrogates are no text, and could not be encoded later.
            texts[name] = text if text.isascii() else text.encode("utf-8", "replace").decode()
            size_bytes += len(texts[name].encode())
        if size_bytes > MAX_BYTES:
            self._tell(f"is larger than {MAX_BYTES} bytes; it is not used")
            return None
        self._tell(f"has keys that are no names of rules files, ignored: {', '.join(sorted(strange))}"[:300]
                   if strange else "")  # fmt: skip
        return texts

    def _tell(self, what: str) -> None:
        """Once, until it is something else."""
        if what and what != self._told:
            log.warning(f"ConfigMap {self.namespace}/{self.name} {what}")
        self._told = what
