# SPDX-License-Identifier: Apache-2.0
"""go.mod, go.sum and main.go become a directory with kube-apiserver, kubelet, kubectl, helm and the others.

They are one static binary and names for it. Built once (7 to 12 minutes on two cores), it stays in the user's cache
under a name that says what it was made from. Invariant: a directory of that name is whole.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).resolve().parent
SOURCES: Final = ("go.mod", "go.sum", "main.go")
BINARY: Final = "kubernetes"
NAMES: Final = (
    "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "kubectl", "helm",
)  # fmt: skip

_COMMAND_S: Final = 60.0
_DOWNLOAD_S: Final = 900.0
_BUILD_S: Final = 2400.0
_GO: Final = "/usr/local/go/bin"  # where Go's own archive is unpacked to


def cache() -> Path:
    """Where what is slow to make stays."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "falco-py"


def version(module: str) -> str:
    """The version of a module that go.mod asks for, such as v1.34.4."""
    found = re.search(rf"^\t{re.escape(module)} (v\S+)$", (HERE / "go.mod").read_text(encoding="utf-8"), re.MULTILINE)
    assert found, f"go.mod does not ask for {module}"
    return found[1]


def programs() -> Path:
    """The directory, made when it is not in the cache. Raises RuntimeError: no Go, or what it said."""
    digest = hashlib.sha256(b"".join((HERE / name).read_bytes() for name in SOURCES)).hexdigest()[:12]
    directory = cache() / f"kubernetes-{version('k8s.io/kubernetes')}-{digest}"
    if directory.exists():
        return directory
    cache().mkdir(parents=True, exist_ok=True)
    with directory.with_name(f"{directory.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not directory.exists():
            _build(directory)
    return directory


def _build(directory: Path) -> None:
    path = f"{os.environ['PATH']}:{_GO}"
    environment = {**os.environ, "PATH": path, "CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOWORK": "off"}
    _check_go(environment)
    print(f"building {directory.name}, once: 7 to 12 minutes on two cores", file=sys.stderr, flush=True)
    fresh = directory.with_name(f"{directory.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir()
    stamps = " ".join(f"-X {name}={value}" for name, value in _stamps().items())
    # Dynamic linking, debug information and the state of this checkout would all be of no use.
    build = ["go", "build", "-mod=readonly", "-buildvcs=false", "-trimpath", "-ldflags", f"-s -w {stamps}"]
    for command, deadline_s in (
        (["go", "mod", "download"], _DOWNLOAD_S),
        (["nice", *build, "-o", str(fresh / BINARY), "."], _BUILD_S),
    ):
        done = subprocess.run(
            command, cwd=HERE, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=deadline_s, check=False,
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(f"{' '.join(command[:3])} failed:\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
    for name in NAMES:
        (fresh / name).symlink_to(BINARY)
    fresh.rename(directory)


def _check_go(environment: dict[str, str]) -> None:
    needed = re.search(r"^go (\d+)\.(\d+)", (HERE / "go.mod").read_text(encoding="utf-8"), re.MULTILINE)
    assert needed
    hint = "install the distribution's golang-go if that is new enough, else Go's own archive, and put go on PATH"
    if shutil.which("go", path=environment["PATH"]) is None:
        raise RuntimeError(f"the cluster's programs are built with Go {needed[1]}.{needed[2]} or newer: {hint}")
    shown = subprocess.run(
        ["go", "env", "GOVERSION"], env=environment, cwd=HERE.root, capture_output=True, text=True, check=True,
        timeout=_COMMAND_S,
    ).stdout.strip()  # fmt: skip
    found = re.match(r"go(\d+)\.(\d+)", shown)
    if found is None or tuple(map(int, found.groups())) < tuple(map(int, needed.groups())):
        raise RuntimeError(
            f"the cluster's programs need Go {needed[1]}.{needed[2]} or newer, and this is {shown}: {hint}"
        )


def _stamps() -> dict[str, str]:
    """What the programs say of themselves; without it the API server calls itself v0.0.0 and clients refuse it."""
    kubernetes = version("k8s.io/kubernetes")
    major, minor, _ = kubernetes.removeprefix("v").split(".")
    component = "k8s.io/component-base/version"
    helm = "helm.sh/helm/v4"
    return {
        f"{component}.gitVersion": kubernetes,
        f"{component}.gitMajor": major,
        f"{component}.gitMinor": minor,
        f"{component}.gitTreeState": "clean",
        f"{helm}/internal/version.version": version(helm),
        f"{helm}/pkg/chart/common.k8sVersionMajor": major,
        f"{helm}/pkg/chart/common.k8sVersionMinor": minor,
        f"{helm}/internal/version.kubeClientVersionMajor": major,
        f"{helm}/internal/version.kubeClientVersionMinor": minor,
    }
