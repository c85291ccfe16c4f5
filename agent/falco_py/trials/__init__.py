# SPDX-License-Identifier: Apache-2.0
"""Rules tried on events that somebody wrote down: explanations and unit tests, without a kernel."""
