#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# From a bare Debian or Ubuntu machine to a built agent: system packages, a Python, .venv, the BPF objects.
# Run again, it does only what is missing or has changed. `setup.sh packages NAME...` installs only these packages, and
# starts no service of theirs.
set -eu
cd "$(dirname "$0")/.."

VENV=.venv
STAMP=$VENV/.falco-py-installed
# netbase has /etc/services: rules may name a port by its service.
PACKAGES="clang llvm libbpf-dev gcc libc6-dev make netbase runc busybox-static clang-format"
PYTHONS="3.13 3.12 3.11" # newest first; pylibbpf has wheels for these

say() { echo "setup: $*"; }
fail() {
	echo "setup: $1" >&2
	shift
	for line in "$@"; do echo "       $line" >&2; done
	exit 2
}

installed() { dpkg-query -W -f '${db:Status-Status}\n' "$1" 2>/dev/null | grep -qx installed; }
exists() { apt-cache show "$1" >/dev/null 2>&1; }

UPDATED=
update_lists() {
	[ -z "$UPDATED" ] || return 0
	say "reading the lists of system packages"
	apt-get -o DPkg::Lock::Timeout=400 -o Acquire::Retries=3 -qq update || say "the lists could not be read; going on with the old ones"
	UPDATED=1
}

apt_install() {
	command -v apt-get >/dev/null || fail "this machine lacks: $*" \
		"It has no apt, so install them with its own package manager and run this again."
	[ "$(id -u)" = 0 ] || fail "this machine lacks: $*" \
		"Installing them needs root. Run 'sudo make setup' once, or: sudo apt-get install $*"
	update_lists
	say "installing $*"
	DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=400 -o Acquire::Retries=3 -o Dpkg::Use-Pty=0 \
		-qq -y --no-install-recommends install "$@" >"$APT_LOG" 2>&1 </dev/null || {
		cat "$APT_LOG" >&2
		fail "apt could not install: $*" "What apt said is above."
	}
}

system_packages() {
	missing=
	if command -v dpkg-query >/dev/null; then
		for package in $PACKAGES; do
			installed "$package" || missing="$missing $package"
		done
	else
		for tool in clang llvm-strip gcc make runc busybox clang-format; do
			command -v "$tool" >/dev/null || missing="$missing $tool"
		done
	fi
	# shellcheck disable=SC2086 # a list of words
	[ -z "$missing" ] || apt_install $missing
}

# A Python will do if it is one of PYTHONS, can make a venv with pip, and has the headers for the native extension.
usable() {
	[ -x "$1" ] && "$1" -c "
import ensurepip, os, sys, sysconfig, venv
version = '%d.%d' % sys.version_info[:2]
header = os.path.join(sysconfig.get_paths()['include'], 'Python.h')
sys.exit(0 if version == '$2' and os.path.exists(header) else 1)
" >/dev/null 2>&1
}

find_python() {
	pyenv_root=${PYENV_ROOT:-}
	[ -n "$pyenv_root" ] || pyenv_root=$(pyenv root 2>/dev/null) || pyenv_root=
	[ -n "$pyenv_root" ] || pyenv_root=${HOME:-/root}/.pyenv
	for version in $PYTHONS; do
		for candidate in "$(command -v "python$version" || true)" "/usr/bin/python$version" \
			"/usr/local/bin/python$version" "$pyenv_root/versions/$version".*/bin/"python$version"; do
			if usable "$candidate" "$version"; then
				echo "$candidate"
				return 0
			fi
		done
	done
	return 1
}

# The system's own Python when it is new enough, else the newest that apt offers beside it.
install_python() {
	command -v apt-get >/dev/null && [ "$(id -u)" = 0 ] && update_lists
	for version in $PYTHONS; do
		if exists "python$version-venv" && exists "python$version-dev"; then
			apt_install "python$version" "python$version-venv" "python$version-dev"
			return 0
		fi
	done
	fail "no Python of $PYTHONS with venv and headers was found, and apt offers none" \
		"Install one of them (with its headers), put it on PATH as python3.X, and run this again."
}

virtual_environment() {
	if [ -x "$VENV/bin/python" ] && "$VENV/bin/python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
		return 0
	fi
	python=$(find_python) || {
		install_python
		python=$(find_python) || fail "the Python that apt installed cannot make a virtual environment"
	}
	say "making $VENV with $("$python" --version) ($python)"
	rm -rf "$VENV"
	"$python" -m venv "$VENV"
}

fingerprint() {
	{
		"$VENV/bin/python" --version
		pwd
		cat pyproject.toml setup.py
		cat agent/falco_py/*/_*.c
	} | sha256sum | cut -d ' ' -f 1
}

python_packages() {
	now=$(fingerprint)
	if [ -f "$STAMP" ] && [ "$(cat "$STAMP")" = "$now" ] && [ -x "$VENV/bin/falco-py" ]; then
		return 0
	fi
	say "installing the agent and its Python packages into $VENV"
	"$VENV/bin/python" -m pip --disable-pip-version-check --quiet install --retries 3 --editable '.[dev]' </dev/null
	echo "$now" >"$STAMP"
}

# Python may be told not to write bytecode by itself; without it each start takes a third longer.
bytecode() {
	"$VENV/bin/python" -m compileall -q agent/falco_py
}

bpf_objects() {
	[ -f bpf/Makefile ] || return 0
	make -q -s -C bpf >/dev/null 2>&1 || say "building the BPF objects"
	make -s --no-print-directory -C bpf
}

umask 022
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
[ "$(uname -s)" = Linux ] || fail "falco-py watches Linux kernels only; this is $(uname -s)"
APT_LOG=$(mktemp)
NO_SERVICES=/usr/sbin/policy-rc.d
FORBIDDEN=
clean_up() {
	rm -f "$APT_LOG"
	[ -z "$FORBIDDEN" ] || rm -f "$NO_SERVICES"
}
trap clean_up EXIT
trap 'exit 1' INT TERM

if [ "${1:-}" = packages ]; then
	shift
	PACKAGES=$*
	if [ "$(id -u)" = 0 ] && [ -d "${NO_SERVICES%/*}" ] && [ ! -e "$NO_SERVICES" ]; then
		FORBIDDEN=1
		printf '#!/bin/sh\nexit 101\n' >"$NO_SERVICES"
		chmod 755 "$NO_SERVICES"
	fi
	system_packages
	exit
fi
system_packages
virtual_environment
python_packages
bytecode
bpf_objects
