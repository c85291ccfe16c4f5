# SPDX-License-Identifier: Apache-2.0
"""Files become an image that needs no registry: a docker-archive, as `ctr images import` and `podman load` read it.

The same files give the same bytes.
"""

from __future__ import annotations

import hashlib
import io
import json
import platform
import subprocess
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PAUSE: Final = "localhost/pause:1"
BUSYBOX: Final = "localhost/busybox:1"

_COMMAND_S: Final = 60.0
_BUSYBOX: Final = Path("/bin/busybox")
_SOURCE: Final = Path(__file__).resolve().parent / "pause.c"
_ARCHITECTURES: Final = {"x86_64": "amd64", "aarch64": "arm64"}
_ACCOUNTS: Final = {
    "etc/passwd": b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n",
    "etc/group": b"root:x:0:\nnogroup:x:65534:\n",
    "etc/shadow": b"root:*:19000:0:99999:7:::\nnobody:*:19000:0:99999:7:::\n",
}


def archive(
    path: Path, name: str, command: Sequence[str], files: Mapping[str, bytes], links: Mapping[str, str] | None = None
) -> Path:
    """Writes the image `name` (repository:tag), which runs `command`.

    `files`: path in the image, without the first slash, to an executable's bytes; `links`: path to target.
    """
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        for directory in ("bin", "dev", "etc", "proc", "root", "sys", "tmp", "var"):
            _add(tar, directory, kind=tarfile.DIRTYPE, mode=0o1777 if directory == "tmp" else 0o755)
        for place, data in _ACCOUNTS.items():
            _add(tar, place, data, mode=0o644)
        for place, data in files.items():
            _add(tar, place, data)
        for place, target in (links or {}).items():
            _add(tar, place, kind=tarfile.SYMTYPE, target=target)
    digest = hashlib.sha256(layer.getvalue()).hexdigest()
    config = json.dumps(
        {
            "architecture": _ARCHITECTURES[platform.machine()],
            "os": "linux",
            "config": {"Cmd": list(command), "Env": ["PATH=/bin"]},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
        }
    ).encode()
    config_name = f"{hashlib.sha256(config).hexdigest()}.json"
    manifest = [{"Config": config_name, "RepoTags": [name], "Layers": [f"{digest}/layer.tar"]}]
    with tarfile.open(path, mode="w") as tar:
        _add(tar, config_name, config)
        _add(tar, f"{digest}/layer.tar", layer.getvalue())
        _add(tar, "manifest.json", json.dumps(manifest).encode())
    return path


def pause(directory: Path) -> Path:
    """The image of a pod's sandbox."""
    program = directory / "pause"
    command = ["gcc", "-O2", "-static", "-o", str(program), str(_SOURCE)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_COMMAND_S, check=False)
    if done.returncode:
        raise RuntimeError(f"pause.c could not be compiled:\n{done.stderr[-4000:]}")
    return archive(directory / "pause.tar", PAUSE, ["/bin/pause"], {"bin/pause": program.read_bytes()})


def busybox(directory: Path) -> Path:
    """A shell and small programs, of the package busybox-static."""
    if not _BUSYBOX.exists():
        raise RuntimeError(f"there is no {_BUSYBOX}: install the package busybox-static")
    shown = subprocess.run(
        [str(_BUSYBOX), "--list"], capture_output=True, text=True, check=True, timeout=_COMMAND_S
    ).stdout
    links = {f"bin/{applet}": "/bin/busybox" for applet in shown.split() if applet != "busybox"}
    return archive(directory / "busybox.tar", BUSYBOX, ["/bin/sh"], {"bin/busybox": _BUSYBOX.read_bytes()}, links)


def _add(
    tar: tarfile.TarFile, name: str, data: bytes = b"", *, kind: bytes = tarfile.REGTYPE, mode: int = 0o755,
    target: str = "",
) -> None:  # fmt: skip
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode, entry.size, entry.linkname = kind, mode, len(data), target
    tar.addfile(entry, io.BytesIO(data))
