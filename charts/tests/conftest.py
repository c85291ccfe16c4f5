# SPDX-License-Identifier: Apache-2.0
"""Lets the tests import what lies beside them and beside the chart."""

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]
