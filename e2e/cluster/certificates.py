# SPDX-License-Identifier: Apache-2.0
"""A directory becomes the cluster's certificate authority, the certificates of its programs, and their kubeconfigs."""

from __future__ import annotations

import base64
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

_COMMAND_S: Final = 60.0
_DAYS: Final = "30"


@dataclass(frozen=True)
class Holder:
    """Who a certificate is for: its subject, the names it serves under, and whether it has a kubeconfig."""

    name: str
    subject: str
    names: str = ""
    kubeconfig: bool = True


def holders(node: str, address: str, service: str) -> list[Holder]:
    """`address`: the node's; `service`: that of the service `kubernetes`."""
    api = "DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:localhost,IP:127.0.0.1"
    return [
        Holder("apiserver", "/CN=kube-apiserver", f"{api},IP:{address},IP:{service}", kubeconfig=False),
        Holder("apiserver-kubelet", "/O=system:masters/CN=kube-apiserver-kubelet-client", kubeconfig=False),
        # As a client and as a server.
        Holder("kubelet", f"/O=system:nodes/CN=system:node:{node}", f"DNS:{node},IP:{address},IP:127.0.0.1"),
        Holder("admin", "/O=system:masters/CN=kubernetes-admin"),
        Holder("kube-controller-manager", "/CN=system:kube-controller-manager"),
        Holder("kube-scheduler", "/CN=system:kube-scheduler"),
        Holder("kube-proxy", "/CN=system:kube-proxy"),
    ]


def make(directory: Path, wanted: list[Holder], server: str) -> None:
    """Writes ca.crt, ca.key, sa.pub, sa.key (of service accounts' tokens), and NAME.crt, NAME.key, NAME.conf of each.

    `server`: the URL of the API server for the kubeconfigs.
    """
    _openssl(directory, "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", "ca.key")
    _openssl(directory, "req", "-x509", "-new", "-key", "ca.key", "-subj", "/CN=falco-py-cluster", "-days", _DAYS,
             "-out", "ca.crt", "-addext", "keyUsage=critical,keyCertSign,cRLSign")  # fmt: skip
    _openssl(directory, "genrsa", "-out", "sa.key", "2048")
    _openssl(directory, "rsa", "-in", "sa.key", "-pubout", "-out", "sa.pub")
    for holder in wanted:
        _sign(directory, holder)
        if holder.kubeconfig:
            (directory / f"{holder.name}.conf").write_text(_kubeconfig(directory, holder, server), encoding="utf-8")


def _sign(directory: Path, holder: Holder) -> None:
    name = holder.name
    extensions = ["keyUsage=critical,digitalSignature,keyEncipherment", "extendedKeyUsage=serverAuth,clientAuth"]
    if holder.names:
        extensions.append(f"subjectAltName={holder.names}")
    (directory / f"{name}.ext").write_text("\n".join(extensions), encoding="utf-8")
    _openssl(directory, "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", f"{name}.key")
    _openssl(directory, "req", "-new", "-key", f"{name}.key", "-subj", holder.subject, "-out", f"{name}.csr")
    _openssl(directory, "x509", "-req", "-in", f"{name}.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial",
             "-days", _DAYS, "-extfile", f"{name}.ext", "-out", f"{name}.crt")  # fmt: skip


def _kubeconfig(directory: Path, holder: Holder, server: str) -> str:
    def data(name: str) -> str:
        return base64.b64encode((directory / name).read_bytes()).decode()

    return f"""\
apiVersion: v1
kind: Config
clusters:
- name: cluster
  cluster: {{server: "{server}", certificate-authority-data: {data("ca.crt")}}}
users:
- name: user
  user: {{client-certificate-data: {data(f"{holder.name}.crt")}, client-key-data: {data(f"{holder.name}.key")}}}
contexts:
- name: context
  context: {{cluster: cluster, user: user}}
current-context: context
"""


def _openssl(directory: Path, *words: str) -> None:
    done = subprocess.run(
        ["openssl", *words], cwd=directory, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        timeout=_COMMAND_S, check=False,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"openssl {words[0]} failed:\n{done.stderr[-4000:]}")
