# SPDX-License-Identifier: Apache-2.0
"""What the agent counts, told in Falco's names: for Prometheus, in an alert, in a file."""
