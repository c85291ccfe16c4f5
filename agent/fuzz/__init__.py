# SPDX-License-Identifier: Apache-2.0
"""Damaged rules for the rules loader (`make fuzz`)."""
