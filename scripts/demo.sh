#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# The same races on the unpatched and on the patched kernel, and a table.
. scripts/lib.sh
check_base
started=$(date +%s)
failed=
races="v1_mbind_update v1_mbind_attach v1_hugetlb_update"

for kernel in unpatched patched; do
	options=
	[ $kernel = patched ] || options="--control v1_"
	variants=
	for race in $races; do
		variants="$variants -v $race"
	done
	# shellcheck disable=SC2086
	scripts/guest.sh $kernel small-middle demo/$kernel UPDATES=2000 -- \
		/test_cpuset_mempolicy $variants
	[ "$DRYRUN" = 0 ] || continue
	# shellcheck disable=SC2086
	python3 scripts/verdict.py $options "$RESULTS/demo/$kernel" >"$RESULTS/demo/$kernel/verdict" ||
		failed=yes
done
[ "$DRYRUN" = 0 ] || exit 0

say
python3 - "$RESULTS/demo" <<'EOF'
import json, sys

RACES = {
    "mbind_update": "cpuset.mems written",
    "mbind_attach": "process moved",
    "hugetlb_update": "... written, huge pages",
}
ENDS = {0: "none", 7: "1 (SIGBUS)", 9: "1 (OOM)"}
ROW = "{:<24} {:<9} {:>7} {:>9} {:>11}  {}"

def values(kernel, race):
    tests = json.load(open(f"{sys.argv[1]}/{kernel}/summary.json"))["tests"]
    return next((t["values"] for t in tests if race in t["name"]), {})

print(ROW.format("", "", "updates", "faults", "processes", "free on the"))
print(ROW.format("race", "kernel", "made", "served", "killed", "allowed nodes"))
for race, text in RACES.items():
    for kernel in "unpatched", "patched":
        v = values(kernel, race)
        print(ROW.format(text, kernel, v.get("updates", "?"), v.get("faults", "?"),
                         ENDS.get(v.get("signal"), "?"),
                         f"{v['free_kb'] >> 10} MB" if "free_kb" in v else "?"))
        text = ""
EOF
say
if [ "$failed" ]; then
	cat "$RESULTS"/demo/*/verdict
	die "this is not what the series promises; the runs are in $RESULTS/demo"
fi
say "Unpatched: killed beside free memory.  Patched: not once.  ($(($(date +%s) - started)) s; the runs are in $RESULTS/demo)"
