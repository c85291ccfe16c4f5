# SPDX-License-Identifier: Apache-2.0
"""The fields that rules read: one row a field, one module a class, looked up through `catalogue`."""
