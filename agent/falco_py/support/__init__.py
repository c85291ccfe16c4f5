# SPDX-License-Identifier: Apache-2.0
"""What works on this machine and what does not (`doctor`), and the facts for a report of a defect (`bundle`)."""
