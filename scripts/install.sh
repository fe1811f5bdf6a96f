#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Install the packages that are missing, or say which they are.
. scripts/lib.sh

missing=
for package in $(sed -e '/^#/d' scripts/packages | cut -f1); do
	dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null |
		grep -qx installed || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

command="apt-get install --no-install-recommends -y$missing"
[ "$(id -u)" = 0 ] ||
	die "packages are missing; as root, run: $command"

install() {
	export DEBIAN_FRONTEND=noninteractive
	# The lists may be old or not there at all.
	$command || { apt-get update && $command; }
}
stage install "installing packages:$missing" install
