#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Which base to take when nobody asks for one: the first of the list that can still
# be had.  Fetches it, and prints its name.
set -eu
for BASE in 7.3 6.12; do
	export BASE
	status=0
	scripts/fetch.sh >&2 || status=$?
	[ $status != 3 ] || continue	# it has vanished
	[ $status = 0 ] || exit $status
	echo $BASE
	exit 0
done
echo "error: none of the bases can be fetched any more; see patches/" >&2
exit 1
