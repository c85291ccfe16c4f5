#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Runs the agent with the project's own rules. On a terminal the agent gets a process group of its own, so that
# Ctrl-C reaches the agent alone: it prints its summary and ends with 0, and make has nothing to complain about.
set -eu
cd "$(dirname "$0")/.."

# The words of /proc/self/stat after the name: state, parent, process group, session, terminal, its foreground group.
IFS= read -r stat </proc/self/stat
# shellcheck disable=SC2086 # split into words on purpose
set -- ${stat##*) }

if [ "$3" = "$6" ] && [ -t 0 ]; then
	set -m
	.venv/bin/falco-py -r rules/falco_rules.yaml
else
	exec .venv/bin/falco-py -r rules/falco_rules.yaml
fi
