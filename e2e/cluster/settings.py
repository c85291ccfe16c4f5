# SPDX-License-Identifier: Apache-2.0
"""The directories of one cluster become the configuration files and the command lines of its daemons.

The settings are those of an ordinary node, except where a machine that runs tests would suffer from them or has not got
what they need (the right to raise limits, a swap-less kernel, a disk that is never full); such a setting says so.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from e2e.cluster.images import PAUSE

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

NODE: Final = "node1"
ADDRESS: Final = "10.99.0.1"
SERVER: Final = f"https://{ADDRESS}:6443"
PODS: Final = "10.244.0.0/24"
SERVICES: Final = "10.96.0.0/16"
KUBERNETES_SERVICE: Final = "10.96.0.1"
CONTAINERD_SOCKET: Final = "/run/containerd/containerd.sock"
ETCD: Final = "http://127.0.0.1:2379"
ETCD_PEER: Final = "http://127.0.0.1:2380"

# What kubelet wants of the machine and would write. The cluster's mount namespace shows it these values instead.
SYSCTLS: Final = {
    "vm/overcommit_memory": 1,
    "vm/panic_on_oom": 0,
    "kernel/panic": 10,
    "kernel/panic_on_oops": 1,
    "kernel/keys/root_maxkeys": 1000000,
    "kernel/keys/root_maxbytes": 25000000,
}

_CONTAINERD: Final = f"""\
version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
# This one makes /opt/containerd on the host.
disabled_plugins = ["io.containerd.internal.v1.opt"]
[grpc]
  address = "{CONTAINERD_SOCKET}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE}"
  # Without CAP_SYS_RESOURCE no process may be made harder to kill.
  restrict_oom_score_adj = true
  disable_apparmor = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "/etc/cni/net.d"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
"""

# Routes instead of a bridge: on one node a bridge would need br_netfilter for the answers of services to find back.
_CNI: Final = {
    "cniVersion": "0.4.0",
    "name": "pods",
    "plugins": [
        {
            "type": "ptp",
            "ipMasq": False,
            "ipam": {"type": "host-local", "ranges": [[{"subnet": PODS}]], "routes": [{"dst": "0.0.0.0/0"}]},
        },
        {"type": "portmap", "capabilities": {"portMappings": True}},
    ],
}

_KUBELET: Final = """\
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
containerRuntimeEndpoint: unix://{socket}
failCgroupV1: false
cgroupDriver: cgroupfs
cgroupsPerQOS: true
cgroupRoot: {cgroup}
enforceNodeAllocatable: []
failSwapOn: false
oomScoreAdj: 0
maxOpenFiles: 20000
registerNode: true
address: 0.0.0.0
resolvConf: {conf}/resolv.conf
authentication: {{anonymous: {{enabled: false}}, webhook: {{enabled: true}}, x509: {{clientCAFile: {pki}/ca.crt}}}}
authorization: {{mode: Webhook}}
tlsCertFile: {pki}/kubelet.crt
tlsPrivateKeyFile: {pki}/kubelet.key
# A full disk of the machine is no reason to throw pods and images away.
evictionHard:
  {{memory.available: "0%", nodefs.available: "0%", nodefs.inodesFree: "0%", imagefs.available: "0%",
   imagefs.inodesFree: "0%"}}
imageGCHighThresholdPercent: 100
imageGCLowThresholdPercent: 99
# How soon an edited ConfigMap is in its volume; a minute otherwise.
syncFrequency: 1s
# The default is made on the host, below /usr.
volumePluginDir: {scratch}/flex
"""

_PROXY: Final = """\
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
clientConnection: {{kubeconfig: {pki}/kube-proxy.conf}}
mode: iptables
clusterCIDR: {pods}
hostnameOverride: {node}
oomScoreAdj: 0
# The machine's connection tracking stays as it is.
conntrack: {{maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}}
"""


@dataclass(frozen=True)
class Settings:
    """`scratch`: the cluster's directory, absolute; `programs`: where the binaries are; `cgroup`: such as /name."""

    scratch: Path
    programs: Path
    cgroup: str
    api_server: Sequence[str] = ()

    @property
    def pki(self) -> Path:
        return self.scratch / "pki"

    @property
    def conf(self) -> Path:
        return self.scratch / "conf"

    def write(self) -> None:
        """Writes the configuration files."""
        words = {
            "socket": CONTAINERD_SOCKET, "cgroup": self.cgroup, "conf": self.conf, "pki": self.pki,
            "scratch": self.scratch, "pods": PODS, "node": NODE,
        }  # fmt: skip
        files = {
            "containerd.toml": _CONTAINERD,
            "kubelet.yaml": _KUBELET.format(**words),
            "kube-proxy.yaml": _PROXY.format(**words),
            "resolv.conf": "",
            "cni/net.d/10-pods.conflist": json.dumps(_CNI),
            **{f"sysctl/{name}": f"{value}\n" for name, value in SYSCTLS.items()},
        }
        for name, text in files.items():
            path = self.conf / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")

    def mounts(self, places: Sequence[str]) -> list[tuple[str, str]]:
        """What lies over what in the cluster's mount namespace; makes the directories of `places` that are below
        `scratch`.
        """
        found = [(str(self.conf / "sysctl" / name), f"/proc/sys/{name}") for name in SYSCTLS]
        for place in places:
            own = self.conf / "cni" if place == "/etc/cni" else self.scratch / "places" / place.strip("/")
            own.mkdir(parents=True, exist_ok=True)
            found.append((str(own), place))
        return found

    def command(self, name: str) -> list[str]:
        """How a daemon is started."""
        return [
            str(self.programs / name) if name.startswith("kube") else name,
            *getattr(self, f"_{name}".replace("-", "_"))(),
        ]

    def _etcd(self) -> list[str]:
        return [
            "--name=node",
            f"--data-dir={self.scratch}/etcd/data",
            f"--listen-client-urls={ETCD}",
            f"--advertise-client-urls={ETCD}",
            f"--listen-peer-urls={ETCD_PEER}",
            f"--initial-advertise-peer-urls={ETCD_PEER}",
            f"--initial-cluster=node={ETCD_PEER}",
            "--logger=zap",
        ]

    def _containerd(self) -> list[str]:
        return [f"--config={self.conf}/containerd.toml"]

    def _kube_apiserver(self) -> list[str]:
        pki = self.pki
        return [
            f"--etcd-servers={ETCD}",
            "--bind-address=0.0.0.0",
            "--secure-port=6443",
            f"--advertise-address={ADDRESS}",
            f"--service-cluster-ip-range={SERVICES}",
            f"--tls-cert-file={pki}/apiserver.crt",
            f"--tls-private-key-file={pki}/apiserver.key",
            f"--client-ca-file={pki}/ca.crt",
            f"--service-account-key-file={pki}/sa.pub",
            f"--service-account-signing-key-file={pki}/sa.key",
            "--service-account-issuer=https://kubernetes.default.svc",
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
            "--allow-privileged=true",
            f"--kubelet-client-certificate={pki}/apiserver-kubelet.crt",
            f"--kubelet-client-key={pki}/apiserver-kubelet.key",
            f"--kubelet-certificate-authority={pki}/ca.crt",
            "--kubelet-preferred-address-types=InternalIP",
            *self.api_server,
        ]

    def _kube_controller_manager(self) -> list[str]:
        pki = self.pki
        return [
            f"--kubeconfig={pki}/kube-controller-manager.conf",
            f"--root-ca-file={pki}/ca.crt",
            f"--service-account-private-key-file={pki}/sa.key",
            "--use-service-account-credentials=true",
            f"--cluster-signing-cert-file={pki}/ca.crt",
            f"--cluster-signing-key-file={pki}/ca.key",
            "--leader-elect=false",
            "--bind-address=127.0.0.1",
            # The default is made on the host, below /usr.
            f"--flex-volume-plugin-dir={self.scratch}/flex",
            # With the default rate the first service account comes 5 s later.
            "--kube-api-qps=200",
            "--kube-api-burst=400",
        ]

    def _kube_scheduler(self) -> list[str]:
        return [f"--kubeconfig={self.pki}/kube-scheduler.conf", "--leader-elect=false", "--bind-address=127.0.0.1"]

    def _kubelet(self) -> list[str]:
        return [
            f"--config={self.conf}/kubelet.yaml",
            f"--kubeconfig={self.pki}/kubelet.conf",
            f"--node-ip={ADDRESS}",
            f"--hostname-override={NODE}",
            "--root-dir=/var/lib/kubelet",
        ]

    def _kube_proxy(self) -> list[str]:
        return [f"--config={self.conf}/kube-proxy.yaml"]
