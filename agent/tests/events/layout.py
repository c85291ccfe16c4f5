# SPDX-License-Identifier: Apache-2.0
"""Layouts of bpf/lib/types.h that only native code of the agent reads."""

from __future__ import annotations

import struct

EXEC_FACTS = struct.Struct("=11I3iIIQQQQQQQQQQ")
