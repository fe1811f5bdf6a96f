#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# The model of the transition, tools/transition.pml, by spin: the order of the series
# has to be verified, all of it, and each other order has to be found wrong.  See
# Documentation/model.md.
#
#	model.sh [NAME...]			these configurations, or all, JOBS= at once
#	model.sh run NAME WANTED OPTION...	one; WANTED is "verified" or "ends", which is
#						verified as well, or the assertion that
#						has to fail: "kill", "page" or "use"
. scripts/lib.sh
out=$RESULTS/model

complain() { say "    FAIL  $1: $2"; }

# A figure of pan's report
figure() { sed -n "s/$1/\\1/p" "$dir/pan.out" | head -n 1; }

# Generate, compile and run the verifier; pan.c and the trail are in $dir.  The search
# is breadth-first where a counterexample is wanted, for that to be a short one.
search() {
	(
		# shellcheck disable=SC2086
		cd "$dir" && spin -a $defines transition.pml &&
			gcc -O2 -w $cflags -DNOFAIR -DCOLLAPSE -DMEMLIM=4000 -o pan pan.c &&
			nice ./pan -m100000 $flags
	) >"$dir/pan.out" 2>&1
}

run() {
	name=$1 want=$2
	shift 2
	dir=$out/$name
	rm -rf "$dir"
	mkdir -p "$dir" 2>/dev/null || die "cannot create $dir: is the disk full?"
	cp tools/transition.pml "$dir"
	defines=
	for option; do defines="$defines -D$option"; done
	case $want in
	verified) cflags=-DSAFETY flags='' text='' ;;
	ends) cflags=-DNP flags=-l text='non-progress cycle' ;;
	kill) cflags="-DSAFETY -DBFS" flags='' text='violated dry\[me\]' ;;
	page) cflags="-DSAFETY -DBFS" flags='' text='violated (found&may' ;;
	use) cflags="-DSAFETY -DBFS" flags='' text='violated ((pol==.*nodes\[pol\]==nm' ;;
	esac
	[ "$V" = 0 ] || say "    spin -a$defines; gcc $cflags; pan $flags"
	search || {
		complain "$name" "the verifier did not run: see $dir/pan.out"
		return 0
	}

	errors=$(figure '.*errors: \([0-9]*\)$') states=$(figure ' *\([0-9]*\) states, stored.*')
	depth=$(figure '.*depth reached \([0-9]*\).*')
	report=$(printf '    %-18s %9s states, depth %3s' "$name" "${states:-?}" "${depth:-?}")
	case $want in
	verified | ends)
		if [ "${errors:-1}" != 0 ]; then
			say "$report: $(figure 'pan:1: \(.*\) (at.*')"
			complain "$name" "it does not hold; to see it: (cd $dir && spin -t -p$defines transition.pml)"
		elif grep -Eq 'max search depth too small|not completed|out of memory|truncated|reached -DMEMLIM' "$dir/pan.out"; then
			say "$report, not all"
			complain "$name" "the search was not completed: see $dir/pan.out"
		else
			say "$report: $want"
		fi
		;;
	*)
		say "$report: ${errors:-?} error"
		if [ "${errors:-0}" = 0 ] || ! grep -q "$text" "$dir/pan.out" ||
			[ ! -f "$dir/transition.pml.trail" ]; then
			complain "$name" "no counterexample of the kind \"$want\": see $dir/pan.out"
		else
			say "        $want: (cd $dir && spin -t -p$defines transition.pml)"
		fi
		;;
	esac
	rm -f "$dir"/pan "$dir"/pan.[bchmpt]
}

# The order of the series; the unpatched kernel; the order of the series without one thing
configurations() {
	cat <<-END
	vma-vma verified K0=VMA K1=VMA
	vma-task verified K0=VMA K1=TASK FAST=2
	vma-task-static verified K0=VMA K1=TASK FAST=2 STATIC OCCUPIED=2
	task-task-0 verified K0=TASK K1=TASK FAST=1 OCCUPIED=0
	task-task-1 verified K0=TASK K1=TASK FAST=1 OCCUPIED=1
	task-task-2 verified K0=TASK K1=TASK FAST=1 OCCUPIED=2
	task-task-3 verified K0=TASK K1=TASK FAST=1 OCCUPIED=3
	task-task-4 verified K0=TASK K1=TASK FAST=1 OCCUPIED=4
	task-task-5 verified K0=TASK K1=TASK FAST=1 OCCUPIED=5
	task-task-6 verified K0=TASK K1=TASK FAST=1 OCCUPIED=6
	task-task-static verified K0=TASK K1=TASK FAST=1 STATIC OCCUPIED=2 UPDATES=1
	none-task verified K0=NONE K1=TASK FAST=0 OCCUPIED=2
	three-updates verified K0=VMA K1=TASK FAST=2 UPDATES=3 OCCUPIED=2
	short verified K0=VMA K1=TASK FAST=2 UPDATES=1 SHORT
	caller verified K0=CALLER K1=NONE UPDATES=1 SHORT OCCUPIED=2
	no-look-last verified K0=CALLER K1=NONE UPDATES=1 SHORT OCCUPIED=2 NO_LOOK_LAST
	ends-vma ends K0=VMA K1=TASK FAST=2 UPDATES=1 SHORT OCCUPIED=2
	ends-task ends K0=TASK K1=NONE OCCUPIED=2
	ends-slow ends K0=TASK K1=NONE FAST=0 UPDATES=1 SHORT OCCUPIED=2
	old-vma kill K0=VMA K1=VMA UPDATES=1 OLD KILLS_ONLY OCCUPIED=2
	old-task verified K0=TASK K1=TASK OLD ANY_PAGE
	mems-first kill K0=VMA K1=VMA UPDATES=1 OCCUPIED=2 KILLS_ONLY MEMS_FIRST
	unlock-early kill K0=VMA K1=VMA UPDATES=1 OCCUPIED=2 KILLS_ONLY UNLOCK_EARLY
	no-vma-lock kill K0=VMA K1=VMA UPDATES=1 OCCUPIED=2 KILLS_ONLY NO_VMA_LOCK
	split-section kill K0=TASK K1=NONE FAST=0 UPDATES=1 OCCUPIED=2 KILLS_ONLY SPLIT_SECTION
	no-refresh kill K0=TASK K1=NONE FAST=0 UPDATES=1 OCCUPIED=2 KILLS_ONLY NO_REFRESH
	by-cookie kill K0=TASK K1=NONE FAST=0 UPDATES=1 OCCUPIED=2 KILLS_ONLY BY_COOKIE
	no-seq kill K0=NONE K1=NONE UPDATES=1 OCCUPIED=2 KILLS_ONLY NO_SEQ
	no-look-first kill K0=CALLER K1=NONE UPDATES=1 OCCUPIED=2 SHORT KILLS_ONLY NO_LOOK_FIRST
	no-pin use K0=TASK K1=NONE FAST=0 UPDATES=1 OCCUPIED=2 NO_PIN
	no-rcu use K0=TASK K1=NONE FAST=1 UPDATES=1 OCCUPIED=2 NO_RCU
	drop-blindly page K0=TASK K1=NONE FAST=1 UPDATES=1 OCCUPIED=0 DROP_BLINDLY
	drop-blindly-slow page K0=TASK K1=NONE FAST=0 UPDATES=1 OCCUPIED=0 DROP_BLINDLY
	drop-no-kill verified K0=TASK K1=NONE FAST=0 OCCUPIED=2 ANY_PAGE DROP_BLINDLY
	END
}

[ "${1:-}" != run ] || {
	shift
	report=$(run "$@")
	say "$report"
	case $report in
	*FAIL*) exit 1 ;;
	esac
	exit 0
}

for tool in spin gcc; do
	command -v $tool >/dev/null || die "$tool is missing: make install"
done
wanted=$(configurations | awk -v names=" $* " 'names == "  " || index(names, " " $1 " ")')
[ "$wanted" ] || die "there is no configuration $*"
printf '%s\n' "$wanted" | xargs -P "$JOBS" -L 1 "$0" run ||
	die "not all are as they must be, see FAIL; the reports are in $out"
count=$(printf '%s\n' "$wanted" | wc -l)
say "$count of $count are as they must be; the reports are in $out"
