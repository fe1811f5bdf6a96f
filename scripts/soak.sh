#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Everything that runs in guests, in kernels that look for mistakes, for HOURS=.
#
# The order is random and comes from SEED=, as do the choices of the programs.  Goes
# on after a failure.  When it was interrupted, or has ended, and HOURS= asks for
# more, it goes on where it was: results/soak/log has a line for each run that ended,
#
#	number name seed seconds passed failed skipped
. scripts/lib.sh
TIMES=${TIMES:-7}
. scripts/scenarios
check_base
soak=$RESULTS/soak
: "${HOURS:=2}"
limit=$(awk -v hours="$HOURS" 'BEGIN { printf "%d", hours * 3600 }')
[ "$limit" -gt 0 ] || die "HOURS=$HOURS is no number of hours"

mkdir -p "$soak" || die "cannot create $soak: is the disk full?"
if [ -f "$soak/seed" ]; then
	seed=$(cat "$soak/seed")
	[ "${SEED:-$seed}" = "$seed" ] ||
		die "there is a soak with SEED=$seed in $soak: move it away for another"
else
	seed=${SEED:-$(date +%s)}
	echo "$seed" >"$soak/seed"
	: >"$soak/log"
fi

# Every scenario as a line of its own, its arguments quoted
quote() {
	for word; do
		printf "'%s' " "$(printf %s "$word" | sed "s/'/'\\\\''/g")"
	done
	echo
}
guest() { quote "$@"; }
all=$({ check_scenarios; soak_scenarios; })

# In round N, in an order that SEED and N determine
round() {
	printf '%s\n' "$all" | python3 -c 'import random, sys
lines = sys.stdin.readlines()
random.Random(" ".join(sys.argv[1:])).shuffle(lines)
sys.stdout.writelines(lines)' "$seed" "$1"
}

# The kernels that they boot
guest() {
	case $2 in
	*-*) echo "${2%%-*} ${2#*-}" ;;
	*) echo "$2 $(sed -n 's/^config //p' "scripts/topology/$3")" ;;
	esac
}
printf '%s\n' "$all" | while read -r line; do eval "guest $line"; done | sort -u |
	while read -r kernel config; do
		scripts/kernel.sh "$kernel" "${config:-guest}" </dev/null
	done
scripts/kernel.sh programs

# What the checkers find is worth something if they can find what is there.
[ -f "$soak/planted" ] || [ "$DRYRUN" != 0 ] || {
	scripts/faults.sh planted
	touch "$soak/planted"
}

spent() { awk '{ s += $4 } END { print s + 0 }' "$soak/log"; }
number=$(wc -l <"$soak/log") total=$(printf '%s\n' "$all" | wc -l)
say "seed $seed, $total scenarios; $number runs in $(spent) s have ended, until $limit s"

guest() {
	name=$1 run=soak/$number-$1 kernel=$2 topology=$3 settings=$4
	shift 4
	run_seed=$((seed + number))
	started=$(date +%s)
	run_guest "$run" "$kernel" "$topology" "$settings SEED=$run_seed" "$@"
	[ "$DRYRUN" != 0 ] || echo "$number $name $run_seed $(($(date +%s) - started))" \
		"$(counts_of "$run")" >>"$soak/log"
}

while [ "$(spent)" -lt "$limit" ]; do
	line=$(round $((number / total)) | sed -n "$((number % total + 1))p")
	eval "guest $line"
	number=$((number + 1))
	[ "$DRYRUN" = 0 ] || [ $number -lt "$total" ] || exit 0
done
python3 scripts/totals.py "$soak"/*/
