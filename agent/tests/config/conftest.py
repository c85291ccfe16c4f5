# SPDX-License-Identifier: Apache-2.0
"""Files for the tests of the configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.config.reading import Write


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a file below a directory of the test's own; gives its path."""

    def write(text: str, name: str = "falco.yaml") -> str:
        path = tmp_path / name
        path.write_text(text)
        return str(path)

    return write
