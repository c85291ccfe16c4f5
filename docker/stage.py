# SPDX-License-Identifier: Apache-2.0
"""The sources become the files that the image adds to its base: `stage.py OUT`, in the build stage of the Dockerfile.

They are those of the host package (`scripts/tree.py`) without what belongs to a service, and with the settings of a
container. `--packages` only fetches the packages of others, so that a change of the agent does not fetch them again.
Invariant: the base's Python is the one that the agent gets; nobody but root may write to what is made.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "scripts"))

import tree  # noqa: E402 - a program of scripts/, which is no package
from vendored import BuildError, dependencies, pin, pins_file, run_pip  # noqa: E402

HERE = ROOT / "docker"
PYTHON = Path("/usr/bin/python3")
WHEELS = tree.CACHE / "wheels"
# The pins name wheels of this machine.
PINNED_MACHINE = "x86_64"
# Not in the wheels that are built here for others (the Dockerfile installs it).
tree.LIBRARIES |= {"ld-linux-aarch64.so.1": "libc6", "libelf.so.1": "libelf1"}

OF_A_SERVICE = ("etc/logrotate.d", "usr/lib/systemd", "usr/share/bash-completion", "usr/share/man")
# (file of docker/, place in the image, mode)
PLACES = (
    ("falco-py", "usr/bin/falco-py", 0o755),
    ("falco.yaml", "etc/falco/falco.yaml", 0o644),
    ("falco_rules.local.yaml", "etc/falco/falco_rules.local.yaml", 0o644),
)
# (directory that the agent writes to, mode)
WRITTEN = (("run/falco-py", 0o755), ("var/lib/falco", 0o700))


def main() -> int:
    options = argparse.ArgumentParser(description="stages the files that the image adds to its base")
    options.add_argument("out", type=Path, nargs="?", help="the directory to make")
    options.add_argument("--packages", action="store_true", help="only fetch the packages of others")
    given = options.parse_args()
    os.umask(0o022)
    try:
        version = tree.target_version(PYTHON)
        if given.packages:
            fetch(version)
        elif given.out:
            stage(given.out, version)
        else:
            options.error("the directory to make is missing")
    except BuildError as error:
        print(f"stage: {error}", file=sys.stderr)
        return 2
    return 0


def fetch(version: str) -> None:
    """The packages of others: as pinned, or where nothing is pinned the newest that fit. Raises BuildError."""
    machine = platform.machine()
    if machine != PINNED_MACHINE or not pins_file(version).exists():
        print(f"stage: no pins for Python {version} on {machine}: taking the newest packages", file=sys.stderr)
        os.environ["PIP_FIND_LINKS"] = str(WHEELS)
        if machine != PINNED_MACHINE:
            build_loader()
        pin(PYTHON, version)
    tree.third_parties(PYTHON, version)


def build_loader() -> None:
    """pylibbpf has wheels for x86-64 only; all other packages have them for arm64, too."""
    asked = next(text for text in dependencies() if text.startswith("pylibbpf"))
    run_pip(PYTHON, "wheel", "--no-deps", "--no-binary=pylibbpf", "--wheel-dir", str(WHEELS), asked)


def stage(out: Path, version: str) -> None:
    """Makes the files. Raises BuildError."""
    tree.stage(out, PYTHON, version)
    for place in OF_A_SERVICE:
        shutil.rmtree(out / place)
    for page in (out / "usr/share/doc/falco-py").glob("*.md"):
        page.unlink()
    for name, place, mode in PLACES:
        tree.put(out / place, (HERE / name).read_bytes(), mode)
    (out / "usr/bin/falco").symlink_to("falco-py")
    for place, _ in WRITTEN:
        (out / place).mkdir(parents=True)
    tree.same_times(out)
    for place, mode in WRITTEN:
        (out / place).chmod(mode)


if __name__ == "__main__":
    sys.exit(main())
