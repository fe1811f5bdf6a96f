#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# The model of the transition, tools/transition.pml, by spin: the order of the series
# has to be verified, all of it, and each other order has to be found wrong.  See
# Documentation/model.md.
#
#	model.sh [NAME...]	these configurations, or all
. scripts/lib.sh
for tool in spin gcc; do
	command -v $tool >/dev/null || die "$tool is missing: make install"
done
out=$RESULTS/model
wanted=" $* "
ran=0 failed=0

complain() { printf '    FAIL  %s: %s\n' "$1" "$2"; failed=$((failed + 1)); }

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

# model NAME WANTED OPTION...: WANTED is "verified" or "ends", which is verified as well,
# or the assertion that has to fail: "kill", "page" or "use".
model() {
	name=$1 want=$2
	shift 2
	case $wanted in
	*" $name "* | "  ") ;;
	*) return 0 ;;
	esac
	ran=$((ran + 1))
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
	printf '    %-18s %9s states, depth %3s' "$name" "${states:-?}" "${depth:-?}"
	case $want in
	verified | ends)
		if [ "${errors:-1}" != 0 ]; then
			say ": $(figure 'pan:1: \(.*\) (at.*')"
			complain "$name" "it does not hold; to see it: (cd $dir && spin -t -p$defines transition.pml)"
		elif grep -Eq 'max search depth too small|not completed|out of memory|truncated|reached -DMEMLIM' "$dir/pan.out"; then
			say ", not all"
			complain "$name" "the search was not completed: see $dir/pan.out"
		else
			say ": $want"
		fi
		;;
	*)
		say ": ${errors:-?} error"
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

say "==> the order of the series"
model vma-vma verified K0=VMA K1=VMA
model vma-task verified K0=VMA K1=TASK FAST=2
model vma-task-static verified K0=VMA K1=TASK FAST=2 STATIC OCCUPIED=2
for occupied in 0 1 2 3 4 5 6; do
	model task-task-$occupied verified K0=TASK K1=TASK FAST=1 OCCUPIED=$occupied
done
model task-task-static verified K0=TASK K1=TASK FAST=1 STATIC OCCUPIED=2 UPDATES=1
model none-task verified K0=NONE K1=TASK FAST=0 OCCUPIED=2
model three-updates verified K0=VMA K1=TASK FAST=2 UPDATES=3 OCCUPIED=2
model short verified K0=VMA K1=TASK FAST=2 UPDATES=1 SHORT
model caller verified K0=CALLER K1=NONE UPDATES=1 SHORT OCCUPIED=2
model no-look-last verified K0=CALLER K1=NONE UPDATES=1 SHORT OCCUPIED=2 NO_LOOK_LAST
model ends-vma ends K0=VMA K1=TASK FAST=2 UPDATES=1 SHORT OCCUPIED=2
model ends-task ends K0=TASK K1=NONE OCCUPIED=2
model ends-slow ends K0=TASK K1=NONE FAST=0 UPDATES=1 SHORT OCCUPIED=2

say "==> the unpatched kernel"
model old-vma kill K0=VMA K1=VMA UPDATES=1 OLD KILLS_ONLY OCCUPIED=2
model old-task verified K0=TASK K1=TASK OLD ANY_PAGE

say "==> the order of the series without one thing"
one="UPDATES=1 OCCUPIED=2"
# shellcheck disable=SC2086
{
	model mems-first kill K0=VMA K1=VMA $one KILLS_ONLY MEMS_FIRST
	model unlock-early kill K0=VMA K1=VMA $one KILLS_ONLY UNLOCK_EARLY
	model no-vma-lock kill K0=VMA K1=VMA $one KILLS_ONLY NO_VMA_LOCK
	model split-section kill K0=TASK K1=NONE FAST=0 $one KILLS_ONLY SPLIT_SECTION
	model no-refresh kill K0=TASK K1=NONE FAST=0 $one KILLS_ONLY NO_REFRESH
	model by-cookie kill K0=TASK K1=NONE FAST=0 $one KILLS_ONLY BY_COOKIE
	model no-seq kill K0=NONE K1=NONE $one KILLS_ONLY NO_SEQ
	model no-look-first kill K0=CALLER K1=NONE $one SHORT KILLS_ONLY NO_LOOK_FIRST
	model no-pin use K0=TASK K1=NONE FAST=0 $one NO_PIN
	model no-rcu use K0=TASK K1=NONE FAST=1 $one NO_RCU
	model drop-blindly page K0=TASK K1=NONE FAST=1 UPDATES=1 OCCUPIED=0 DROP_BLINDLY
	model drop-blindly-slow page K0=TASK K1=NONE FAST=0 UPDATES=1 OCCUPIED=0 DROP_BLINDLY
	model drop-no-kill verified K0=TASK K1=NONE FAST=0 OCCUPIED=2 ANY_PAGE DROP_BLINDLY
}

[ "$ran" != 0 ] || die "there is no configuration$wanted"
say "$((ran - failed)) of $ran are as they must be; the reports are in $out"
[ "$failed" = 0 ]
