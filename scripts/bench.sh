#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# What policies cost, unpatched beside patched: a table.  Each kernel is booted
# twice, to show how far the counts can be trusted.
. scripts/lib.sh
check_base
started=$(date +%s)
build=$(realpath "$SRC")/build
bench=$RESULTS/bench

for kernel in unpatched patched; do
	for boot in 1 2; do
		run=$bench/$kernel-$boot
		scripts/guest.sh $kernel bench "${run#"$RESULTS"/}" -- /bench
		[ "$DRYRUN" = 0 ] || continue
		python3 scripts/verdict.py "$run" >"$run/verdict" || {
			cat "$run/verdict"
			die "the benchmark did not come to its end; the run is in $run"
		}
	done
done
[ "$DRYRUN" = 0 ] || exit 0

stage bloat "comparing the sizes of the functions" python3 "$LINUX/scripts/bloat-o-meter" \
	"$build/unpatched-bench/vmlinux" "$build/patched-bench/vmlinux"
cp "$stage_log" "$bench/bloat"
stage native "timing a reference count on this machine" "$build/programs/root/bench" native
cp "$stage_log" "$bench/native"

say
python3 - "$bench" >"$bench/table" <<'EOF'
import json, re, sys

BENCH = sys.argv[1]
KERNELS = "unpatched", "patched"
MODES = {
    "bind": "BIND",
    "bind_static": "BIND | STATIC_NODES",
    "bind_relative": "BIND | RELATIVE_NODES",
    "preferred": "PREFERRED",
    "preferred_many": "PREFERRED_MANY",
    "interleave": "INTERLEAVE",
    "weighted_interleave": "WEIGHTED_INTERLEAVE",
    "local": "LOCAL",
}
PIPE_MODES = "bind", "preferred", "interleave", "weighted_interleave"
# The functions to list: those that are about policies, by their names
ABOUT_POLICIES = re.compile("mpol|mempolicy|mbind|interleave|policy_node|vma_policy|"
                            "cpuset|mems_allowed")
ROW = "{:<30}{:>9}{:>8}{:>7}{:>11}{:>8}{:>7}"

# What the guests counted, by kernel, boot, test and name
counts = {(kernel, boot): {test["name"]: test["values"] for test in json.load(
              open(f"{BENCH}/{kernel}-{boot}/summary.json"))["tests"]}
          for kernel in KERNELS for boot in (1, 2)}
for tests in counts.values():
    tests["update"].update(tests["update_none"])
# The largest difference between the boots of a kernel, by kind of count
unsteady = {}

def measure(test, number, name, *minus):
    """The count "name" without the counts "minus", divided by "number", as a
    function of kernel and boot; None if the kernel lacks what was to be counted"""
    def value(kernel, boot):
        found = counts[kernel, boot].get(test, {})
        if not {name, *minus} <= found.keys():
            return None
        return round((found[name] - sum(found[m] for m in minus)) / number)
    return value

def cells(value, kind):
    if not value:
        return ["", "", ""]
    for kernel in KERNELS:
        boots = [value(kernel, boot) for boot in (1, 2)]
        if None not in boots:
            unsteady[kind] = max(unsteady.get(kind, 0), abs(boots[0] - boots[1]))
    old, new = (value(kernel, 1) for kernel in KERNELS)
    change = "" if None in (old, new) else f"{new - old:+}" if new != old else "="
    return ["-" if v is None else v for v in (old, new)] + [change]

def head(text, *columns):
    print(ROW.format(text, *columns, *[""] * (6 - len(columns))).rstrip())

def row(text, kind, on, off=None):
    head(text, *cells(off, kind), *cells(on, kind))

def page(text, test, name, *minus):
    """Counted by four, without and with cpusets"""
    row(text, "page", measure(f"{test}_on", 4, name, *minus),
        measure(f"{test}_off", 4, name, *minus))

def vma(text, test, name, *minus):
    row(text, "VMA", measure(test, 1000, name, *minus))

def call(text, test, name, *minus):
    row(text, "call", measure(test, 1, name, *minus))

print(f"{'cpusets off':>54}{'cpusets on':>26}")
head("INSTRUCTIONS", *("unpatched", "patched", "change") * 2)
page("page fault, no policy", "faults", "default")
for scope, text in ("vma", "VMA"), ("task", "task"):
    head(f"  with a {text} policy, more:")
    for mode in MODES:
        page(f"    {MODES[mode]}", "faults", f"{scope}_{mode}", "default")
page("page of a pipe, no policy", "pipe", "default")
head("  with a task policy, more:")
for mode in PIPE_MODES:
    page(f"    {MODES[mode]}", "pipe", f"task_{mode}", "default")
call("set_mempolicy", "mbind", "task")
call("mbind of a VMA", "mbind", "whole")
call("  that splits it", "mbind", "split")
call("  ... and it has a policy", "mbind", "resplit")
call("fork, exit and wait", "fork", "plain")
call("  with a task policy, more", "fork", "task_bind", "plain")
call("write of cpuset.mems", "update", "no_vmas_none")
head("for each of 1,000 VMAs:")
vma("  mbind of all of them", "mbind", "many")
vma("  fork, exit and wait", "fork", "vmas_none", "plain")
vma("    with one mbind, more", "fork", "vmas_one", "vmas_none")
vma("    with an mbind each, more", "fork", "vmas_own", "vmas_none")
vma("  write of cpuset.mems", "update", "more_none", "vmas_none")
vma("    with one mbind", "update", "more_one", "vmas_one")
vma("    ... later", "update", "later_one", "later_none")
vma("    with an mbind each", "update", "more_own", "vmas_own")
vma("    ... later", "update", "later_own", "later_none")
vma("  munmap", "mbind", "unmap_none")
vma("    with one mbind, more", "mbind", "unmap_one", "unmap_none")
vma("    ... later", "mbind", "unmap_later_one", "unmap_later_none")
vma("    with an mbind each, more", "mbind", "unmap_own", "unmap_none")
vma("    ... later", "mbind", "unmap_later_own", "unmap_later_none")
head("THOUSANDS OF INSTRUCTIONS")
row("a node filled, to the OOM kill", "kill", measure("oom", 1000, "all"))
row("  since the last page", "kill", measure("oom", 1000, "last"))
for unit in "objects", "bytes":
    head(f"POLICIES IN THE SLAB, {unit.upper()}")
    for when, text in (("mbind", "1,000 VMAs, one mbind"), ("fork", "  forked"),
                       ("update", "  and cpuset.mems written"), ("end", "  unmapped")):
        row(text, unit, measure("slab", 1, f"{unit}_{when}"))
head("CODE, BYTES")
total = "?"
for line in open(f"{BENCH}/bloat"):
    words = line.split()
    if line.startswith("Total:"):
        total = line.strip()
    elif len(words) == 4 and ABOUT_POLICIES.search(words[0]):
        print("  {:<52}{:>11}{:>8}{:>7}".format(*words))
print(f"  {total}")
print()
print("Of two boots of each kernel this is the first.  The second differs by at most")
print("  " + ", ".join(f"{n} per {kind}" if kind in ("page", "VMA", "call", "kill") else f"{n} {kind}"
                      for kind, n in unsteady.items()) + ".")
print("Timed on this machine, not counted, and different every time:")
for line in open(f"{BENCH}/native"):
    print(f"  {line.rstrip()}")
EOF
cat "$bench/table"
say "($(($(date +%s) - started)) s; the runs, this table and the output of bloat-o-meter are in $bench)"
