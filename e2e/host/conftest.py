# SPDX-License-Identifier: Apache-2.0
"""A package in dist/ becomes a machine with the service installed: one machine for all tests, in the tests' order.

Invariant: whatever a test does to the machine, the host of the tests is left as it was.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from e2e.host.container import COMMAND_S, Machine, image

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
DIST = ROOT / "dist"


@pytest.fixture(scope="session")
def package() -> Path:
    """The package that was made last."""
    found = sorted(DIST.glob("falco-py_*.deb"), key=lambda path: path.stat().st_mtime)
    assert found, "there is no package in dist/: make deb"
    return found[-1]


@pytest.fixture(scope="session")
def tree(package: Path) -> Path:
    """The files of a machine that has what the package depends on, and no compiler."""
    assert os.geteuid() == 0, "the tests of the host service need root"
    shown = subprocess.run(
        ["dpkg-deb", "--field", str(package), "Depends"], capture_output=True, text=True, check=True, timeout=COMMAND_S
    ).stdout
    return image(shown.split(",")[0].strip())


@pytest.fixture(scope="session")
def machine(tmp_path_factory: pytest.TempPathFactory, tree: Path, package: Path) -> Iterator[Machine]:
    """Booted, nothing installed yet."""
    made = Machine(tmp_path_factory.mktemp("machine"), tree, package.parent)
    try:
        yield made.start()
    finally:
        made.stop()
