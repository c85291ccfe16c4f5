# SPDX-License-Identifier: Apache-2.0
"""The API server's audit log becomes a list of what the agent asked of it."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from pathlib import Path

USER: Final = "system:serviceaccount:default:falco-py"
_POLICY: Final = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["ResponseStarted", "ResponseComplete", "Panic"],
    "rules": [{"level": "Metadata", "users": [USER]}, {"level": "None"}],
}


class Requests:
    """`directory` is where the API server writes them. The policy is in there, too."""

    def __init__(self, directory: Path) -> None:
        self._policy = directory / "policy.json"
        self._log = directory / "requests.log"
        directory.mkdir(parents=True, exist_ok=True)
        self._policy.write_text(json.dumps(_POLICY), encoding="utf-8")

    def flags(self) -> list[str]:
        """Of the API server. An entry is written when its request comes in."""
        return [f"--audit-policy-file={self._policy}", f"--audit-log-path={self._log}", "--audit-log-mode=blocking"]

    def length(self) -> int:
        """Of the log, in bytes: for `since`."""
        return self._log.stat().st_size if self._log.exists() else 0

    def since(self, place: int) -> Counter[tuple[str, str]]:
        """How often each verb was asked of each resource, such as `pods`, `apps/deployments`, `configmaps/NAME`."""
        if not self._log.exists():
            return Counter()
        with self._log.open(encoding="utf-8") as log:
            log.seek(place)
            return Counter(_said(json.loads(line)) for line in log)


def _said(entry: dict[str, Any]) -> tuple[str, str]:
    of = entry.get("objectRef", {"resource": entry["requestURI"]})
    return entry["verb"], "/".join(of[part] for part in ("apiGroup", "resource", "name") if part in of)
