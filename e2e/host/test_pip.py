# SPDX-License-Identifier: Apache-2.0
"""The wheel in a virtual environment of a machine without network, with the service's files put in place by hand."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pip
import pytest
from e2e.host.container import Machine

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
PIP = Path(pip.__file__).parent
DOWNLOAD_S = 600.0
# The lines of docs/host.md.
LINES = """
ln -s /opt/falco-py/bin/falco-py /usr/bin/falco-py
mkdir -p /etc/falco/rules.d /etc/falco/config.d
cp /opt/falco-py/share/falco-py/*.yaml /etc/falco/
cp /opt/falco-py/share/falco-py/falco.service /etc/systemd/system/
systemctl daemon-reload
systemctl enable --now falco
"""


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory, tree: Path) -> Iterator[Path]:
    """What the wheel in dist/ asks for, for the machine's Python; pip's cache has it after the first time."""
    where = tmp_path_factory.mktemp("wheels")
    pins = ROOT / "packaging" / f"{python_of(tree)}.txt"
    command = ["/usr/bin/python3", str(PIP), "--disable-pip-version-check", "download", "--quiet", "--no-deps",
               "--only-binary=:all:", "--require-hashes", "--requirement", str(pins), "--dest", str(where)]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True, timeout=DOWNLOAD_S)
    yield where
    shutil.rmtree(where)


def python_of(tree: Path) -> str:
    return next((tree / "usr/bin").glob("python3.*[0-9]")).name


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory, tree: Path, package: Path, wheels: Path) -> Iterator[Machine]:
    mounts = [(wheels, "/wheels"), (PIP, "/mnt/pip")]
    made = Machine(tmp_path_factory.mktemp("machine"), tree, package.parent, mounts)
    try:
        yield made.start()
    finally:
        made.stop()


def test_a_virtual_environment_runs_the_service(machine: Machine, tree: Path) -> None:
    machine.run(python_of(tree), "-m", "venv", "--without-pip", "/opt/falco-py")
    machine.shell(
        "/opt/falco-py/bin/python /mnt/pip --disable-pip-version-check install --quiet --no-compile --no-index "
        "--find-links /wheels /dist/falco_py-*.whl"
    )
    machine.shell(LINES)
    assert machine.run("systemctl", "is-active", "falco").stdout.strip() == "active"
    machine.run("cat", "/etc/shadow", "/of-pip", check=False)
    machine.journal().expect("Sensitive file opened for reading", "/of-pip")
