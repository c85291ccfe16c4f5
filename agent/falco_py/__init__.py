# SPDX-License-Identifier: Apache-2.0
"""falco-py: Falco rules on the events of a live kernel."""

__version__ = "0.1.0"
