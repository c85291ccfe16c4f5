#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Installs falco-py from the files beside this script, or brings an installed one up to date; run again, it changes
# nothing. What somebody edited below /etc stays. With DESTDIR=/dir everything goes below /dir and nothing is started.
set -eu
cd "$(dirname "$0")"

ROOT=${DESTDIR:-}
SHIPPED=$ROOT/usr/share/falco-py/shipped # what the last installation brought
RULES=etc/falco/falco_rules.yaml
KEPT="etc/falco/falco.yaml etc/falco/falco_rules.local.yaml etc/logrotate.d/falco-py"

say() { echo "install: $*"; }
fail() {
	echo "install: $*" >&2
	exit 2
}
systemd() { [ -z "$ROOT" ] && [ -d /run/systemd/system ]; }

[ -n "$ROOT" ] || [ "$(id -u)" = 0 ] || fail "this needs root: sudo ./install.sh"
PYTHON=$(readlink files/usr/lib/falco-py/bin/python3)
[ -n "$ROOT" ] || [ -x "$PYTHON" ] || fail "$PYTHON is missing: install $(basename "$PYTHON") with the package manager"
if [ -z "$ROOT" ] && dpkg-query -W -f '${db:Status-Status}' falco-py 2>/dev/null | grep -qx installed; then
	fail "falco-py is installed as a package: upgrade that (apt install ./falco-py_*.deb), or apt remove it first"
fi

umask 022
FIRST=
[ -e "$ROOT/usr/lib/falco-py" ] || FIRST=1

if [ -f "$ROOT/$RULES" ] && ! cmp -s "$ROOT/$RULES" "$SHIPPED/$RULES" && ! cmp -s "$ROOT/$RULES" "files/$RULES"; then
	cp -p "$ROOT/$RULES" "$ROOT/$RULES.old"
	say "/$RULES was edited; it is replaced, and kept as /$RULES.old"
fi
mkdir -p "$ROOT/etc/falco/rules.d" "$ROOT/etc/falco/config.d" "$ROOT/etc/logrotate.d" "$ROOT/usr/lib"
cp "files/$RULES" "$ROOT/$RULES"
for file in $KEPT; do
	if [ ! -e "$ROOT/$file" ] || cmp -s "$ROOT/$file" "$SHIPPED/$file"; then
		rm -f "$ROOT/$file.new"
		cp "files/$file" "$ROOT/$file"
	elif ! cmp -s "$ROOT/$file" "files/$file" && ! cmp -s "$SHIPPED/$file" "files/$file"; then
		cp "files/$file" "$ROOT/$file.new"
		say "/$file was edited and is kept; the new one is /$file.new"
	fi
done

rm -rf "$ROOT/usr/lib/falco-py.new"
cp -R -p files/usr/lib/falco-py "$ROOT/usr/lib/falco-py.new"
rm -rf "$ROOT/usr/lib/falco-py" "$ROOT/usr/share/doc/falco-py" "$ROOT/usr/share/falco-py"
mv "$ROOT/usr/lib/falco-py.new" "$ROOT/usr/lib/falco-py"
for part in bin share lib/systemd; do
	mkdir -p "$ROOT/usr/$part"
	cp -R -p "files/usr/$part/." "$ROOT/usr/$part/"
done
mkdir -p "$SHIPPED"
cp -R -p files/etc "$SHIPPED/"
cp -p uninstall.sh "$ROOT/usr/share/falco-py/"

if systemd; then
	systemctl daemon-reload
	if [ -n "$FIRST" ]; then
		systemctl --quiet unmask falco.service # `apt remove` of the package masked it
		systemctl --quiet enable falco.service
		systemctl start falco.service || say "the service did not start: systemctl status falco"
	else
		systemctl try-restart falco.service || say "the service did not start: systemctl status falco"
	fi
fi
say "$(sed -n 's/^__version__ = "\(.*\)"/falco-py \1/p' files/usr/lib/falco-py/lib/python*/site-packages/falco_py/__init__.py) is installed; to remove it: /usr/share/falco-py/uninstall.sh [--purge]"
