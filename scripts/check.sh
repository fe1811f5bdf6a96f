#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Everything that must hold.  Goes on after a failure, unless a kernel cannot be
# built; the last line counts.
. scripts/lib.sh
check_base
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
		say "    FAIL  $1: see $stage_log"
		count 0 1 0
	fi
}

# A guest: guest RUN KERNEL TOPOLOGY "NAME=value..." "VERDICT OPTIONS" PROGRAM [ARGUMENT]...
guest() {
	run=check/$1 kernel=$2 topology=$3 settings=$4 options=$5
	shift 5
	# shellcheck disable=SC2086
	scripts/guest.sh "$kernel" "$topology" "$run" $settings -- "$@"
	[ "$DRYRUN" = 0 ] || return 0
	# shellcheck disable=SC2086
	python3 scripts/verdict.py $options "$RESULTS/$run" || :
	# shellcheck disable=SC2046
	count $(python3 -c 'import json, sys
count = json.load(open(sys.argv[1]))["count"]
print(count["pass"], count["fail"], count["skip"])' "$RESULTS/$run/summary.json")
}

# The race test in a guest: race RUN KERNEL TOPOLOGY UPDATES "VERDICT OPTIONS" VARIANT...
race() {
	name=$1 kernel=$2 topology=$3 updates=$4 options=$5
	shift 5
	variants=
	for variant; do
		variants="$variants -v $variant"
	done
	# shellcheck disable=SC2086
	guest "$name" "$kernel" "$topology" "UPDATES=$updates" "$options" \
		/test_cpuset_mempolicy $variants
}

check verdict "testing the verdict on runs" python3 scripts/verdict_test.py
check refresh "comparing patches/$BASE with what refresh writes" scripts/series.sh verify
check lint "linting the series, patch by patch" scripts/lint.sh
scripts/kernel.sh unpatched guest
scripts/kernel.sh patched guest wide debug
scripts/kernel.sh programs

races="mbind_update mbind_attach mbind_fork hugetlb_update hugetlb_attach task_fork"
# Without the series seldom killed on v2, which migrates and is slow
clones="mbind_clone task_clone"
# Not killed without the series either
others="task_update task_attach hugetlb_task_update hugetlb_task_attach"
# On v1 only: the same races with other kinds of memory
thp="v1_thp_update v1_thp_attach"
shmem="v1_shmem_task_update v1_shmem_task_attach"
all_of() {
	for variant in $2; do
		printf '%s_%s ' "$1" "$variant"
	done
}

# The races can fail: without the series they do.
# shellcheck disable=SC2046
{
	race control-v1 unpatched small-middle 60 "--control v1_" $(all_of v1 "$races $clones") $thp
	race control-v2 unpatched small-middle 60 "--control v2_" $(all_of v2 "$races")
	race unpatched-task unpatched small-middle 300 "" v1_task_update v1_task_attach

	race patched-v1 patched small-middle 2000 "" $(all_of v1 "$races")
	race patched-v1-more patched small-middle 2000 "" $(all_of v1 "$clones $others")
	race patched-v1-memory patched small-middle 1000 "" $thp $shmem
	race swap patched swap 40 "" v1_swap_update
	race patched-v2 patched small-middle 200 "" $(all_of v2 "$races $clones $others")
	race debug-v1 patched-debug small-middle 100 "" $(all_of v1 "$races $clones $others")
	race debug-v2 patched-debug small-middle 50 "" $(all_of v2 "$races $clones $others")
	for topology in two four memoryless cpuless movable; do
		race "$topology" patched "$topology" 100 "" v1_mbind_update v1_mbind_attach v1_task_update
	done
	race wide patched wide 50 "" v1_mbind_update v1_task_update
}

# The arithmetic, in the guest with the widest masks; kunit.py changes directory.
[ "$DRYRUN" != 0 ] || check kunit "reading the results of the KUnit suite" \
	python3 "$LINUX/tools/testing/kunit/kunit.py" parse "$PWD/$RESULTS/check/wide/console"

# What the allocator does with nodemasks, impossible ones included
guest nodemask-v1 patched-debug mixed TRIES=10000 "" /test_alloc_nodemask -v v1
guest nodemask-v2 patched-debug mixed TRIES=10000 "--skip v1.only" /test_alloc_nodemask -v v2

# The life of policies: nothing is leaked, few are left behind, and none is missed
guest storm patched-debug small-middle SECONDS=60 "" /storm
guest retired patched-debug small-middle "UPDATES=300 OWN_UPDATES=100" "" /retired
guest failslab patched-debug small-middle \
	"FAILSLAB=1 OWN_THREADS=60 OWN_UPDATES=30" "" /retired

say "all of it took $((($(date +%s) - started) / 60)) minutes; the runs are in $RESULTS/check"
say "$passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ]
