#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Everything that must hold; with BRIEF=1 what a second base has to show beside the
# first: that the races end, and what becomes of policies.  Of a minimal series,
# patches/*-fix, it is the races, and that they fail without it.  Goes on after a
# failure, unless a kernel cannot be built; the last lines say what failed and count.
. scripts/lib.sh
check_base
: "${BRIEF:=0}"
runs=$RESULTS/check-$BASE
mkdir -p "$runs" || die "cannot create $runs: is the disk full?"
: >"$runs/failures"
started=$(date +%s)
passed=0 failed=0 skipped=0

count() {
	passed=$((passed + $1)) failed=$((failed + $2)) skipped=$((skipped + $3))
}

# A check that is one command: check NAME TEXT COMMAND...
check() {
	try_stage "$@"
	if [ "$stage_status" = 0 ]; then
		count 1 0 0
	else
		tail -n 30 "$stage_log" | sed 's/^/    | /'
		say "    FAIL  $1: see $stage_log" | tee -a "$runs/failures"
		count 0 1 0
	fi
}

. scripts/scenarios

guest() {
	name=$1
	shift
	run_guest "check-$BASE/$name" "$@"
	[ "$DRYRUN" = 0 ] || return 0
	# shellcheck disable=SC2046
	count $(counts_of "check-$BASE/$name")
	sed -n "s/^ *FAIL  /&$name: /p" "$runs/$name/verdict" >>"$runs/failures"
}

report() {
	say "Linux $(cat "$SRC/version"): $((($(date +%s) - started) / 60)) minutes; the runs are in $runs"
	cat "$runs/failures"
	say "$passed passed, $failed failed, $skipped skipped"
	[ "$failed" = 0 ]
}

if [ "$BRIEF" = 1 ]; then
	scripts/kernel.sh patched guest
	scripts/kernel.sh programs
	brief_scenarios
	report
	exit
fi
scripts/kernel.sh unpatched guest
if [ "${BASE%-fix}" != "$BASE" ]; then
	scripts/kernel.sh patched guest
	scripts/kernel.sh programs
	minimal_scenarios
	report
	exit
fi

check verdict "testing the verdict on runs" python3 scripts/verdict_test.py
check refresh "comparing patches/$BASE with what refresh writes" scripts/series.sh verify
# Of the model the old order, the new one, and each kind of counterexample
check model "checking the model of the transition" scripts/model.sh vma-vma task-task-2 \
	old-vma mems-first split-section no-refresh no-rcu drop-blindly
check lint "linting the series" scripts/lint.sh brief
scripts/kernel.sh patched guest debug
scripts/kernel.sh programs

check_scenarios

# The arithmetic, in the guest with the most nodes; kunit.py changes directory.
[ "$DRYRUN" != 0 ] || check kunit "reading the results of the KUnit suite" \
	python3 "$LINUX/tools/testing/kunit/kunit.py" parse "$PWD/$RESULTS/check-$BASE/wide/console"

report
