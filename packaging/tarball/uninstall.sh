#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Removes what install.sh brought. The configuration below /etc/falco, alerts and spool stay, unless --purge is given.
set -eu

ROOT=${DESTDIR:-}

[ -n "$ROOT" ] || [ "$(id -u)" = 0 ] || {
	echo "uninstall: this needs root" >&2
	exit 2
}
systemd() { [ -z "$ROOT" ] && [ -d /run/systemd/system ]; }

if systemd; then systemctl --quiet disable --now falco.service 2>/dev/null || true; fi
if [ -f "$ROOT/etc/falco/falco_rules.yaml" ] &&
	! cmp -s "$ROOT/etc/falco/falco_rules.yaml" "$ROOT/usr/share/falco-py/shipped/etc/falco/falco_rules.yaml"; then
	cp -p "$ROOT/etc/falco/falco_rules.yaml" "$ROOT/etc/falco/falco_rules.yaml.old"
fi
rm -rf "$ROOT/usr/lib/falco-py" "$ROOT/usr/share/falco-py" "$ROOT/usr/share/doc/falco-py"
rm -f "$ROOT/usr/bin/falco-py" "$ROOT/usr/lib/systemd/system/falco.service" \
	"$ROOT/usr/share/man/man8/falco-py.8.gz" "$ROOT/usr/share/bash-completion/completions/falco-py" \
	"$ROOT/etc/falco/falco_rules.yaml"
if systemd; then systemctl daemon-reload; fi
if [ "${1:-}" = --purge ]; then
	rm -rf "$ROOT/var/lib/falco" "$ROOT/var/log/falco" "$ROOT/etc/falco"
	rm -f "$ROOT/etc/logrotate.d/falco-py" "$ROOT/etc/logrotate.d/falco-py.new"
	echo "uninstall: falco-py, its configuration and its data are removed"
else
	echo "uninstall: falco-py is removed; /etc/falco, /etc/logrotate.d/falco-py, /var/lib/falco and /var/log/falco are kept (--purge removes them)"
fi
