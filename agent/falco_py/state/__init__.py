# SPDX-License-Identifier: Apache-2.0
"""What is known beyond one event: processes, users, containers by cgroup."""
