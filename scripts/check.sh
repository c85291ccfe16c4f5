#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Format, lint, types, layers, and what is made from the chart's values. One that fails does not keep the others from being told.
set -u
cd "$(dirname "$0")/.."
PATH=$PWD/.venv/bin:$PATH

failed=
check() {
	name=$1
	shift
	echo "check: $name"
	"$@" || failed="$failed, $name"
}

c_format() {
	# shellcheck disable=SC2046 # names of our own, without blanks
	clang-format --style=file:bpf/.clang-format --dry-run --Werror --ferror-limit=3 \
		$(find bpf agent/falco_py -name '*.[ch]')
}

check lint ruff check --quiet .
check format ruff format --check .
check types mypy --no-error-summary
check layers lint-imports --no-cache
check "C format" c_format
check "chart values" python charts/values_page.py --check

if [ -n "$failed" ]; then
	echo "check: failed: ${failed#, } ('make format' mends the formats)" >&2
	exit 1
fi
echo "check: all fine"
