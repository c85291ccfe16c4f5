#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# pack.sh [deb] [tarball] [wheel]: makes these in dist/, for the system's Python. The same commit gives the same bytes.
# DEB_VERSION: another version of the package than the agent's. TARGET_PYTHON: another Python than /usr/bin/python3.
set -eu
cd "$(dirname "$0")/.."
ROOT=$PWD
STAGED=build/host/tree

say() { echo "pack: $*"; }
fail() {
	echo "pack: $*" >&2
	exit 2
}
size() { du -sh --apparent-size "$1" | cut -f 1; }

tree() {
	CFLAGS="-ffile-prefix-map=$ROOT=." .venv/bin/python scripts/tree.py --python "$TARGET_PYTHON" "$@"
}

# The files of a host, once for all that is packed.
stage() {
	[ -z "$TREE_IS_NEW" ] || return 0
	tree "$STAGED"
	TREE_IS_NEW=1
}

deb() {
	command -v dpkg-deb >/dev/null || fail "dpkg-deb is missing: a Debian package is made on Debian or Ubuntu"
	stage
	architecture=$(dpkg --print-architecture)
	version=${DEB_VERSION:-$VERSION}
	rm -rf build/host/deb
	cp -a "$STAGED" build/host/deb
	mkdir build/host/deb/DEBIAN
	for script in preinst postinst prerm postrm; do
		install -m 755 "packaging/debian/$script" build/host/deb/DEBIAN/
	done
	(
		cd build/host/deb
		# falco_rules.yaml is left out on purpose: an upgrade brings the new rules, and preinst keeps an edited file.
		printf '/etc/%s\n' falco/falco.yaml falco/falco_rules.local.yaml logrotate.d/falco-py >DEBIAN/conffiles
		find etc usr -type f | LC_ALL=C sort | tr '\n' '\0' | xargs -0 md5sum >DEBIAN/md5sums
		kib=$(find etc usr -printf '%y %s\n' | awk '{ sum += $1 == "f" ? int(($2 + 1023) / 1024) : 1 } END { print sum }')
		sed -e "s/@VERSION@/$version/" -e "s/@ARCHITECTURE@/$architecture/" -e "s/@SIZE@/$kib/" \
			-e "s/@DEPENDS@/$(cat "$ROOT/$STAGED.depends")/" "$ROOT/packaging/debian/control" >DEBIAN/control
		chmod 644 DEBIAN/conffiles DEBIAN/md5sums DEBIAN/control
	)
	made=dist/falco-py_${version}_$architecture.deb
	# Level 3: a tenth more than level 6, in a third of the time.
	dpkg-deb --root-owner-group -Zxz -z3 --threads-max=2 --build build/host/deb "$made" >/dev/null
	say "$made ($(size "$made"), $(size "$STAGED") installed)"
}

tarball() {
	stage
	case $(uname -m) in
	x86_64) name=falco-py-$VERSION-linux-amd64 ;;
	*) fail "there are no packages for $(uname -m) yet" ;;
	esac
	rm -rf build/host/tarball
	mkdir -p "build/host/tarball/$name"
	cp -a "$STAGED" "build/host/tarball/$name/files"
	install -m 755 packaging/tarball/install.sh packaging/tarball/uninstall.sh "build/host/tarball/$name/"
	install -m 644 LICENSE "build/host/tarball/$name/"
	tar -C build/host/tarball --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$SOURCE_DATE_EPOCH" \
		-cf - "$name" | gzip -6n >"dist/$name.tar.gz"
	say "dist/$name.tar.gz ($(size "dist/$name.tar.gz"))"
}

wheel() {
	rm -f dist/falco_py-*.whl
	tree --wheel dist
	for made in dist/falco_py-*.whl; do say "$made ($(size "$made"))"; done
}

umask 022
if [ -z "${TARGET_PYTHON:-}" ]; then
	TARGET_PYTHON=/usr/bin/python3
	sh scripts/setup.sh packages python3-dev
fi
# All files get the time of the last commit.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || stat -c %Y pyproject.toml)}
export SOURCE_DATE_EPOCH
VERSION=$(sed -n 's/^__version__ = "\(.*\)"$/\1/p' agent/falco_py/__init__.py)
[ -n "$VERSION" ] || fail "agent/falco_py/__init__.py names no version"
TREE_IS_NEW=
mkdir -p dist
for what in "$@"; do
	case $what in
	deb | tarball | wheel) "$what" ;;
	*) fail "it is not known how to make '$what'" ;;
	esac
done
