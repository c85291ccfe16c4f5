# SPDX-License-Identifier: Apache-2.0
"""The pages of docs/ that are made from the code (`make docs`)."""

from __future__ import annotations

from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"
