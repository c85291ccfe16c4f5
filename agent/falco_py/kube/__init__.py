# SPDX-License-Identifier: Apache-2.0
"""What the Kubernetes API says becomes facts of this node's pods."""
