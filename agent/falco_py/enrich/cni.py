# SPDX-License-Identifier: Apache-2.0
"""What network plugins answered when a pod was made becomes its address (libcni's cache of results)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ..bounds import dict_of, items_of, text_of

if TYPE_CHECKING:
    from .files import Files

_RESULTS: Final = "/var/lib/cni/results"  # NETWORK-CONTAINER-INTERFACE
_MOST: Final = 1024
_FIRST: Final = "-eth0"


def address(files: Files, sandbox_id: str) -> str:
    """The first address of a pod, "" when it has none of its own."""
    if not sandbox_id:
        return ""
    end = f"-{sandbox_id}{_FIRST}"
    name = next((name for name in files.names(_RESULTS, _MOST) if name.endswith(end)), None)
    if name is None:
        return ""
    result = dict_of((files.read(_RESULTS, name) or {}).get("result"))
    return next((text_of(ip.get("address")).partition("/")[0] for ip in items_of(result.get("ips"))), "")
