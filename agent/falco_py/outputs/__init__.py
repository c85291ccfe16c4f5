# SPDX-License-Identifier: Apache-2.0
"""Where alerts go, one module an output."""
