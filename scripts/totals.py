#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""What many runs of guests have done, in one table: totals.py RUN...

Takes summary.json, which verdict.py has written, and the console of each run.  Of the
reports those are counted that fail a run, and not what a test provokes.
"""

import collections
import json
import pathlib
import re
import sys

from verdict import check_console

# What is counted by tests whose names match, and under which name they print it
COUNTS = {
    "updates": ("race|retired|failslab", "updates"),
    "faults": ("race", "faults"),
    "pages": ("race", "checked"),
    "misplaced": ("race", "misplaced"),
    "operations": ("storm", "operations"),
    "sequences": ("fuzz", "sequences"),
}
CHECKERS = {
    "KASAN": r"BUG: KASAN",
    "KCSAN": r"BUG: KCSAN",
    "lockdep": r"possible (circular|recursive|irq)|inconsistent lock|bad unlock|held lock freed",
    "RCU": r"suspicious RCU usage|rcu: .*stall",
    "sleep in atomic": r"sleeping function called|scheduling while atomic",
    "WARN, BUG": r"WARNING: (mm|kernel|fs)/|kernel BUG at",
    "kmemleak": r"kmemleak: \d+ new",
    "hang": r"soft lockup|blocked for more than",
    "kill": r"invoked oom-killer",
}


def rows(runs):
    table = collections.defaultdict(collections.Counter)
    for run in runs:
        summary = json.loads((run / "summary.json").read_text())
        row = table[summary["version"]["kernel"]]
        row["guests"] += 1
        row["seconds"] += round((run / "exit").stat().st_mtime -
                                (run / "cmdline").stat().st_mtime)
        row["passed"] += summary["count"]["pass"]
        row["failed"] += summary["count"]["fail"]
        row["skipped"] += summary["count"]["skip"]
        for test in summary["tests"]:
            for name, (tests, value) in COUNTS.items():
                if re.search(tests, test["name"]):
                    row[name] += test["values"].get(value, 0)
        console = (run / "console").read_text(errors="replace")
        for line in check_console(console, "unpatched" in summary["version"]["kernel"],
                                  summary["command"]):
            for name, pattern in CHECKERS.items():
                row[name] += bool(re.search(pattern, line))
    return table


def main():
    table = rows(pathlib.Path(arg) for arg in sys.argv[1:]
                 if (pathlib.Path(arg) / "summary.json").exists())
    kernels = sorted(table)
    total = sum(table.values(), collections.Counter())
    fields = ["guests", "seconds", "passed", "failed", "skipped", *COUNTS, *CHECKERS]
    width = max([len(kernel) for kernel in kernels] + [11])
    print(" " * 16, *(f"{kernel:>{width}}" for kernel in [*kernels, "all"]))
    for field in fields:
        print(f"{field:<16}",
              *(f"{row[field]:>{width}}" for row in [*map(table.get, kernels), total]))
    return 1 if total["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
