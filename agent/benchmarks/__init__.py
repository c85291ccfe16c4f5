# SPDX-License-Identifier: Apache-2.0
"""What watching costs: run with `make bench`."""
