#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# The patched kernel with one mistake put in, scripts/faults/NAME.patch, and whether
# anything notices it.
#
#	faults.sh planted [NAME...]	each checker has to report the fault that is planted for it
#	faults.sh mutants [NAME...]	which of the others survive the quick tests
#
# The head of a patch says what is wrong (Fault:) and, of a planted one, with which
# configuration (Config:) and program (Run:) which line has to appear (Report:).  Of a
# mutant it may say which test to begin with (First:), and, if none can see it, why
# (Survives:).
. scripts/lib.sh
. scripts/scenarios
check_base

# The faults whose file names match
faults() {
	# shellcheck disable=SC2012
	(cd scripts/faults && ls ./*.patch) | sed -e 's|^\./||' -e 's/\.patch$//' | grep "$@"
}

# The value of a line in the head of a patch
head_of() { sed -n "/^diff /q; s/^$1: //p" "scripts/faults/$2.patch"; }

# A guest until one of its lines matches: watch RUN REGEX KERNEL TOPOLOGY WORDS... as for
# guest.sh.  Prints the line.
watch() {
	run=faults/$1 regex=$2 kernel=$3 topology=$4
	shift 4
	rm -rf "${RESULTS:?}/$run"
	setsid scripts/guest.sh "$kernel" "$topology" "$run" "$@" >&2 &
	guest=$!
	while [ "$DRYRUN" = 0 ] && kill -0 $guest 2>/dev/null; do
		sleep 1
		[ -z "$(line_of "$run" "$regex")" ] || kill -- -$guest 2>/dev/null || :
	done
	wait $guest || :
	line_of "$run" "$regex"
}

# The first line of the console or of the results that matches
line_of() {
	cat "$RESULTS/$1/console" "$RESULTS/$1/ktap" 2>/dev/null |
		grep -P -m 1 -e "$2" || :
}

planted() {
	missed=
	# shellcheck disable=SC2046
	[ $# != 0 ] || set -- $(faults '^planted-')
	for fault; do
		config=$(head_of Config "$fault")
		scripts/kernel.sh "$fault" "$config"
		# shellcheck disable=SC2046
		line=$(watch "$fault" "$(head_of Report "$fault")" "$fault-$config" \
			$(head_of Run "$fault"))
		[ "$line" ] || [ "$DRYRUN" != 0 ] || missed="$missed $fault"
		say "    $fault: ${line:-NOT REPORTED}"
	done
	[ -z "$missed" ] || die "not reported:$missed; what these checkers do not find proves nothing"
}

# What tells of a mistake, unless it is what a test is for
MISTAKE='^ *not ok \d|^(?!test_alloc_node|kworker|fuzz)\S+: page allocation impossible|^BUG: |^WARNING: (?!.*warn_alloc_impossible)|Kernel panic|soft lockup|rcu: .*stall|blocked for more'

# A quick test on the guest's command line: quick_test PROGRAM VERSION
quick_test() {
	printf '/%s' "$1"
	# shellcheck disable=SC2046,SC2086
	case $1 in
	mempolicy) [ "$2" = v1 ] || printf ' %s' $changes ;;
	test_cpuset_mempolicy) printf ' -v%s' $(all_of "$2" "$races $others mbind_clone") ;;
	test_alloc_nodemask) printf ' -v%s' "$2" ;;
	esac
}

# The quick tests, in guests for each version of cgroups, until something notices the
# fault, which is printed.  Where a node has ZONE_MOVABLE only, as in "mixed", is no place
# for fuzz, whose model has all nodes with memory.
quick_tests() {
	first=$(head_of First "$1")
	topologies="mixed small-middle"
	[ "$first" != fuzz ] || topologies="small-middle mixed"
	for version in v1 v2; do
		for topology in $topologies; do
			quick_guest "$1" $version $topology
			[ "$DRYRUN" = 0 ] || continue
			[ -z "$noticed" ] || {
				echo "$version: $noticed" | tr -s ' ' | cut -c1-75
				return
			}
		done
	done
}

# One of these guests; what was noticed is in $noticed
quick_guest() {
	# Each test once: the kernel passes at most 32 words to init.  "retired" mounts v1,
	# which fails for a while after v2 was there.
	tests=
	for test in $first mempolicy test_cpuset_mempolicy test_alloc_nodemask storm retired; do
		[ "$test" != fuzz ] && [ "$test $2" != "retired v2" ] || continue
		[ "$test" = "$first" ] && [ "$tests" ] ||
			tests="$tests + $(quick_test "$test" "$2")"
	done
	[ "$3" = mixed ] || tests=" + /fuzz"
	seconds=10
	[ "$first" != fuzz ] || seconds=60
	# shellcheck disable=SC2086
	noticed=$(TIMEOUT=1800 watch "$1/$2-$3" "$MISTAKE" "$1-debug" "$3" MODE="$2" \
		UPDATES=150 TRIES=20 SECONDS=$seconds OWN_UPDATES=60 THREADS=100 -- ${tests# + })
	[ "$DRYRUN" = 0 ] || return 0
	[ "$noticed" ] || noticed=$(python3 scripts/verdict.py --skip 'v[12].only' \
		"$RESULTS/faults/$1/$2-$3" | sed -n 's/^ *FAIL  //p' | head -n 1)
}

# What has been found out stays valid for the same series, fault and tests.
mutants() {
	[ $# != 0 ] || {
		# shellcheck disable=SC2046
		set -- $(faults -v '^planted-')
	}
	number=0 killed=0 known=0
	for fault; do
		[ -f "scripts/faults/$fault.patch" ] || die "there is no scripts/faults/$fault.patch"
		number=$((number + 1))
		say "==> mutant $number of $#: $fault: $(head_of Fault "$fault")"
		outcome=$RESULTS/faults/$fault/outcome
		key=$({ series_id; cat "scripts/faults/$fault.patch" tools/*.[ch]; } | sha256sum)
		if [ "$(sed -n 2p "$outcome" 2>/dev/null)" != "$key" ]; then
			scripts/kernel.sh "$fault" debug
			noticed=$(quick_tests "$fault")
			[ "$DRYRUN" = 0 ] || continue
			printf '%s\n%s\n' "$noticed" "$key" >"$outcome"
		fi
		noticed=$(sed -n 1p "$outcome") reason=$(head_of Survives "$fault")
		if [ "$noticed" ]; then
			killed=$((killed + 1))
			say "    killed: $noticed"
		elif [ "$reason" ]; then
			known=$((known + 1))
			say "    survived, as is known: $reason"
		else
			say "    SURVIVED"
		fi
	done
	say "$number mutants: $killed killed, $known survived for a reason, $((number - killed - known)) survived"
	[ $((killed + known)) = $number ]
}

what=$1
shift
case $what in
planted | mutants) $what "$@" ;;
*) die "faults.sh planted or mutants" ;;
esac
