#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""The verdict on one run of a guest: what its tests said, and how it ended.

Reads ktap, console, exit and version from the run's directory and writes
summary.json there.  Prints a line per result that is not a plain pass.  Exit
status: 0 if nothing failed, 1 otherwise.

  --control RE   tests that match must fail, with a signal from the kernel or
                 with stale masks; those that do count as passed
  --differ RE    tests that match must fail: this kernel is meant to differ there
  --skip RE      skips whose reason matches are expected, and no others; without
                 it, those that the topology of the run names
"""

import argparse
import json
import pathlib
import re
import sys

HERE = pathlib.Path(__file__).parent

VERSION = re.compile(r"(KTAP version 1|TAP version 13)$")
PLAN = re.compile(r"1\.\.(\d+)(?: # SKIP ?(.*))?$")
RESULT = re.compile(r"(not ok|ok) (\d+)(?: -)? ?([^#]*?)\s*(?:# ?(SKIP|XFAIL)\b ?(.*))?$")
VALUE = re.compile(r"\b([a-z_]+)=(-?\d+)\b")
# How many of the lines before a failure are repeated
NOTES = 20
# What the harness of kselftests says of every test
PROGRESS = re.compile(r"#\s+(RUN|OK|FAIL)\s")
# What stands between a report and its trace
TRACE_HEAD = re.compile(r"(CPU|Hardware name|Workqueue|Tainted): ")


def parse_ktap(text):
    """Return (tests, problems).

    Only the innermost results are tests; the result of a parent is checked
    against those of its children.  Tests are dicts: name, result (pass, fail or
    skip), reason, and, of the diagnostic lines before, values, the NAME=NUMBER in
    them, and of one that failed notes, the lines.
    Nesting is by indentation, two spaces a level.
    """
    tests, problems = [], []
    # One entry per open plan: its indentation, how many results it announced
    # and has seen, and how many tests there were after the last of them
    levels = []
    values, notes = {}, []
    begun = False

    def close(level):
        if level["plan"] is None:
            problems.append("no plan: the results ended before they began")
        elif level["seen"] != level["plan"]:
            problems.append(
                f"truncated: {level['seen']} results of {level['plan']} planned")

    if text and not text.endswith("\n"):
        problems.append("truncated: the last line is not complete")
    for line in text.replace("\r", "").splitlines():
        indent = len(line) - len(line.lstrip(" "))
        item = line.strip()
        if not item:
            continue
        if VERSION.match(item):
            while levels and levels[-1]["indent"] >= indent:
                close(levels.pop())
            levels.append({"indent": indent, "plan": None, "seen": 0,
                           "tests": len(tests)})
            begun = True
            continue
        if item.startswith("#"):
            values.update((k, int(v)) for k, v in VALUE.findall(item))
            if not PROGRESS.match(item):
                notes.append(item.lstrip("# "))
            continue
        plan, result = PLAN.match(item), RESULT.match(item)
        if not plan and not result:
            continue            # a program's own words
        while levels and levels[-1]["indent"] > indent:
            close(levels.pop())
        if not levels or levels[-1]["indent"] != indent:
            problems.append(f"malformed: \"{item}\" outside of any plan")
            continue
        level = levels[-1]
        if plan:
            if level["plan"] is not None:
                problems.append(f"malformed: a second plan, \"{item}\"")
            level["plan"] = int(plan[1])
            if level["plan"] == 0:
                tests.append({"name": "all", "result": "skip",
                              "reason": plan[2] or "", "values": {}})
            continue
        level["seen"] += 1
        if int(result[2]) != level["seen"]:
            problems.append(
                f"malformed: result {result[2]} where {level['seen']} was due")
        outcome = "fail" if result[1] == "not ok" else "pass"
        if result[4] == "SKIP":
            outcome = "skip"
        children = tests[level["tests"]:]
        if children:
            failed = any(t["result"] == "fail" for t in children)
            if (outcome == "fail") != failed:
                problems.append(
                    f"inconsistent: {result[3]} says {outcome}, "
                    f"its tests say {'fail' if failed else 'no failure'}")
        else:
            tests.append({"name": result[3], "result": outcome,
                          "reason": result[5] or "", "values": values})
            if outcome == "fail":
                tests[-1]["notes"] = notes
        values, notes = {}, []
        level["tests"] = len(tests)
    while levels:
        close(levels.pop())
    if not begun:
        problems.append("no results at all")
    return tests, problems


def read_patterns(name):
    lines = (HERE / name).read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def check_console(text, control, command=""):
    """Return the lines that fail the run and are not excused."""
    fatal = [re.compile(p) for p in read_patterns("console-failures")]
    kinds = {"any", *(["control"] if control else []), *command.split()}
    excused = []
    for line in read_patterns("console-excused"):
        kind, rest = line.split("\t", 1)
        if kind in kinds:
            excused.append(re.compile(rest.split("\t# ")[0]))
    lines = []
    trace_excused = False
    headline = ""
    for line in text.splitlines():
        if not any(p.search(line) for p in fatal):
            if not TRACE_HEAD.match(line):
                headline = line
            continue
        # A trace belongs to the report before it, and is excused with that.
        if line.startswith("Call Trace:"):
            if not trace_excused:
                lines.append(f"{line} {headline}".rstrip())
            trace_excused = False
            continue
        headline = line
        trace_excused = any(p.search(line) for p in excused)
        if not trace_excused:
            lines.append(line)
    return lines


def topology_skip(version):
    """Return the RE of the skips that are expected of a run's topology."""
    text = (HERE / "topology" / version["topology"]).read_text()
    return next((line[5:] for line in text.splitlines() if line.startswith("skip ")), None)


def judge(ktap, console, status, control=None, skip=None, differ=None, command=""):
    """Return (tests, problems) of a run; problems are (kind, text)."""
    tests, malformed = parse_ktap(ktap)
    problems = []
    lines = check_console(console, control, command)
    if any("Kernel panic" in line for line in lines):
        problems.append(("panic", next(l for l in lines if "Kernel panic" in l)))
    elif lines:
        more = f" (and {len(lines) - 1} more lines)" if len(lines) > 1 else ""
        problems.append(("warning", lines[0] + more))
    if status == 137 or status == 124:
        problems.append(("hang", "the guest did not end within its time, or was killed"))
    elif status:
        problems.append(("lost", f"qemu ended with status {status}"))
    if malformed:
        kind = "results" if status == 0 and not problems else "lost results"
        problems.extend((kind, text) for text in malformed)
    for test in tests:
        if control and re.search(control, test["name"]):
            sig = test["values"].get("signal", 0)
            stale = test["values"].get("stale", 0)
            if test["result"] == "fail" and (sig in (7, 9) or stale):
                test["reason"] = (f"control: fails as it must, signal {sig}, "
                                  f"{stale} stale masks")
                test["result"] = "pass"
            else:
                test["reason"] = (f"control: must fail by a signal or with stale "
                                  f"masks, but is a {test['result']} without")
                test["result"] = "fail"
        elif differ and re.search(differ, test["name"]):
            failed = test["result"] == "fail"
            test["reason"] = "differs as it must" if failed else "must differ, but does not"
            test["result"] = "pass" if failed else "fail"
        elif test["result"] == "skip" and not (
                skip and re.search(skip, test["reason"])):
            test["result"] = "fail"
            test["reason"] = f"unexpected skip: {test['reason']}"
    return tests, problems


def main():
    args = argparse.ArgumentParser(description=__doc__,
                                   formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("--control")
    args.add_argument("--differ")
    args.add_argument("--skip")
    args.add_argument("run", type=pathlib.Path)
    args = args.parse_args()

    def read(name):
        path = args.run / name
        return path.read_text(errors="replace") if path.exists() else ""

    version = dict(line.split(": ", 1) for line in read("version").splitlines())
    tests, problems = judge(read("ktap"), read("console"), int(read("exit") or 1),
                            args.control, args.skip or topology_skip(version),
                            args.differ, read("cmdline"))
    count = {r: sum(t["result"] == r for t in tests)
             for r in ("pass", "fail", "skip")}
    count["fail"] += len(problems)
    (args.run / "summary.json").write_text(json.dumps(
        {"version": version, "command": read("cmdline").strip(), "count": count,
         "problems": problems, "tests": tests}, indent=1) + "\n")

    for kind, text in problems:
        print(f"    FAIL  {kind}: {text}")
    for test in tests:
        if test["result"] != "pass" or test["reason"]:
            notes = test.get("notes", []) if test["result"] == "fail" else []
            reason, *more = [r for r in [test["reason"], *notes[:NOTES]] if r] or [""]
            print(f"    {test['result'].upper()}  {test['name']}: {reason}")
            for note in more:
                print(f"    | {note}")
    print(f"    {count['pass']} passed, {count['fail']} failed, "
          f"{count['skip']} skipped ({args.run})")
    return 1 if count["fail"] else 0


if __name__ == "__main__":
    sys.exit(main())
