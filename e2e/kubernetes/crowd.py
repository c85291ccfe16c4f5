# SPDX-License-Identifier: Apache-2.0
"""Many pods and namespaces come into the API without a kubelet: crowd.py KUBECONFIG PODS NAMESPACES, in the network of
the cluster.

The pods are bound to a node that nobody runs. They tolerate its taints, so that no controller removes them.
"""

from __future__ import annotations

import base64
import http.client
import json
import ssl
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import yaml

NODE: Final = "elsewhere"
CONNECTIONS: Final = 8
REQUEST_S: Final = 60.0
RETRY_S: Final = 120.0
_STEP_S: Final = 0.2
# Of real pods: what the agent does not need of them is most of it.
_LABELS: Final = {f"example.org/label-{number}": f"value-{number}" for number in range(10)}


class Server:
    """As an administrator."""

    def __init__(self, kubeconfig: Path) -> None:
        config = yaml.safe_load(kubeconfig.read_text(encoding="utf-8"))
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        self._host = urlsplit(cluster["server"]).netloc
        authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
        self._tls = ssl.create_default_context(cadata=authority)
        with tempfile.NamedTemporaryFile() as file:
            file.write(base64.b64decode(user["client-certificate-data"]))
            file.write(base64.b64decode(user["client-key-data"]))
            file.flush()
            self._tls.load_cert_chain(file.name)
        self._own = threading.local()

    def make(self, path: str, item: dict[str, Any]) -> None:
        """Also what exists. Raises RuntimeError. A new namespace takes a moment to have the account of its pods."""
        ends = time.monotonic() + RETRY_S
        while True:
            status, answer = self._post(path, item)
            if status in (200, 201, 409):
                return
            if status != 403 or time.monotonic() > ends:
                raise RuntimeError(f"{path}: {status} {answer!r}")
            time.sleep(_STEP_S)

    def _post(self, path: str, item: dict[str, Any]) -> tuple[int, bytes]:
        if not hasattr(self._own, "connection"):
            self._own.connection = http.client.HTTPSConnection(self._host, context=self._tls, timeout=REQUEST_S)
        connection = self._own.connection
        connection.request("POST", path, json.dumps(item), {"Content-Type": "application/json"})
        response = connection.getresponse()
        return response.status, response.read()


def namespace(number: int) -> dict[str, Any]:
    return {"metadata": {"name": f"crowd-{number}", "labels": _LABELS}}


def pod(number: int) -> dict[str, Any]:
    container = {"name": "one", "image": "localhost/none:1", "env": [{"name": "TEXT", "value": "x" * 500}]}
    return {
        "metadata": {"name": f"crowd-{number}", "labels": _LABELS, "annotations": {"example.org/text": "y" * 500}},
        "spec": {"nodeName": NODE, "tolerations": [{"operator": "Exists"}], "containers": [container]},
    }


def main() -> int:
    server, pods, namespaces = Server(Path(sys.argv[1])), int(sys.argv[2]), int(sys.argv[3])
    begun = time.monotonic()
    server.make("/api/v1/nodes", {"metadata": {"name": NODE}})
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        made = [pool.submit(server.make, "/api/v1/namespaces", namespace(number)) for number in range(namespaces)]
        made += [
            pool.submit(server.make, f"/api/v1/namespaces/crowd-{number % namespaces}/pods", pod(number))
            for number in range(pods)
        ]
        for one in made:
            one.result()
    print(f"{time.monotonic() - begun:.1f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
