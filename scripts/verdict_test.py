#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Tests of verdict.py: what it must not take for a success."""

import textwrap
import unittest

from verdict import check_console, judge, parse_ktap, topology_skip

GOOD = """\
KTAP version 1
1..2
ok 1 topology
  TAP version 13
  1..2
  # race.c:1:race:updates=300 overlapped=290 faults=12345 forks=0
  # race.c:2:race:checked=10 misplaced=0 signal=0 free_kb=499
  ok 1 race.v1
  ok 2 race.v2 # SKIP no cgroup v2 cpuset
  # Totals: pass:1 fail:0 xfail:0 xpass:0 skip:1 error:0
ok 2 /race
"""
KILLED = """\
KTAP version 1
1..2
ok 1 topology
  TAP version 13
  1..1
  #  RUN           race.v1 ...
  # race.c:2:race:checked=10 misplaced=0 signal=9 free_kb=499
  not ok 1 race.v1
not ok 2 /race
"""
NOISE = "Linux version 7.3.4\nreboot: Power down\n"
OOM = NOISE + "race invoked oom-killer: gfp_mask=0x140dca\nCall Trace:\n"


def outcome(ktap, console=NOISE, status=0, **kwargs):
    """The kinds of problems, and the results of the tests, as one list."""
    tests, problems = judge(ktap, console, status, **kwargs)
    return [kind for kind, _ in problems] + [t["result"] for t in tests]


class Parser(unittest.TestCase):
    def test_nested(self):
        tests, problems = parse_ktap(GOOD)
        self.assertEqual(problems, [])
        self.assertEqual([t["name"] for t in tests],
                         ["topology", "race.v1", "race.v2"])
        self.assertEqual(tests[1]["values"]["updates"], 300)
        self.assertEqual(tests[1]["values"]["free_kb"], 499)
        self.assertEqual(tests[2]["reason"], "no cgroup v2 cpuset")

    def test_what_was_said_of_a_failure(self):
        tests, _ = parse_ktap(KILLED)
        self.assertEqual(tests[1]["notes"], [
            "race.c:2:race:checked=10 misplaced=0 signal=9 free_kb=499"])
        self.assertNotIn("notes", tests[0])

    def test_every_truncation_is_noticed(self):
        lines = GOOD.splitlines(keepends=True)
        for end in range(len(lines)):
            with self.subTest(lines=end):
                self.assertTrue(parse_ktap("".join(lines[:end]))[1])

    def test_cut_within_the_last_line(self):
        self.assertTrue(parse_ktap(GOOD[:-3])[1])

    def test_malformed(self):
        for name, ktap in {
            "no version": "1..1\nok 1 a\n",
            "no plan": "KTAP version 1\nok 1 a\n",
            "two plans": "KTAP version 1\n1..1\n1..1\nok 1 a\n",
            "wrong number": "KTAP version 1\n1..2\nok 1 a\nok 3 b\n",
            "one number twice": "KTAP version 1\n1..2\nok 1 a\nok 1 b\n",
            "too many": "KTAP version 1\n1..1\nok 1 a\nok 2 b\n",
            "child outside": "KTAP version 1\n1..1\n  ok 1 a\nok 1 b\n",
            "garbage": "\0\0\xff\n",
            "empty": "",
        }.items():
            with self.subTest(name):
                self.assertTrue(parse_ktap(ktap)[1])

    def test_parent_contradicts_its_tests(self):
        self.assertTrue(parse_ktap(KILLED.replace("not ok 2", "ok 2"))[1])
        self.assertTrue(parse_ktap(GOOD.replace("ok 2 /race", "not ok 2 /race"))[1])

    def test_noise_is_not_a_result(self):
        tests, problems = parse_ktap(GOOD.replace("  1..2\n", "  1..2\n  okay then\n"))
        self.assertEqual((len(tests), problems), (3, []))

    def test_skip_of_a_whole_program(self):
        tests, problems = parse_ktap(textwrap.dedent("""\
            KTAP version 1
            1..1
              TAP version 13
              1..0 # SKIP needs root
            ok 1 /race # SKIP all of it
            """))
        self.assertEqual(problems, [])
        self.assertEqual([(t["result"], t["reason"]) for t in tests],
                         [("skip", "needs root")])


class Verdict(unittest.TestCase):
    def test_skips(self):
        self.assertEqual(outcome(GOOD), ["pass", "pass", "fail"])
        self.assertEqual(outcome(GOOD, skip="no cgroup v2"), ["pass", "pass", "skip"])
        self.assertEqual(outcome(GOOD, skip="no root"), ["pass", "pass", "fail"])

    def test_skips_of_a_topology(self):
        self.assertEqual(topology_skip({"topology": "two"}), "needs three nodes with memory")
        self.assertIsNone(topology_skip({"topology": "four"}))

    def test_kill_is_a_failure_without_control(self):
        self.assertEqual(outcome(KILLED), ["pass", "fail"])

    def test_control_must_fail(self):
        self.assertEqual(outcome(KILLED, OOM, control="v1"), ["pass", "pass"])
        self.assertEqual(outcome(GOOD, skip=".", control="v1"), ["pass", "fail", "skip"])

    def test_control_must_fail_for_the_right_reason(self):
        other = KILLED.replace("signal=9", "signal=0")
        self.assertEqual(outcome(other, control="v1"), ["pass", "fail"])
        stale = KILLED.replace("signal=9", "signal=0 stale=3")
        self.assertEqual(outcome(stale, control="v1"), ["pass", "pass"])

    def test_differ(self):
        self.assertEqual(outcome(KILLED, differ="v1"), ["pass", "pass"])
        self.assertEqual(outcome(GOOD, skip=".", differ="v1"), ["pass", "fail", "skip"])

    def test_console(self):
        self.assertEqual(outcome(KILLED, OOM)[0], "warning")
        for line in ("WARNING: mm/mempolicy.c:1 at mpol_put", "BUG: KASAN: x",
                     "INFO: task race:1 blocked for more than 120 seconds.",
                     "Oops: general protection fault", "init: mount: No such file",
                     "kmemleak: 3 new suspected memory leaks (see ...)",
                     "    not ok 7 remap"):
            with self.subTest(line):
                self.assertEqual(check_console(line, False), [line])
                self.assertEqual(check_console(line, True), [line])

    def test_data_races_of_others_are_excused(self):
        for functions, lines in ("mte_set_node_dead / mtree_range_walk", 0), ("x / mpol_y", 1):
            report = f"BUG: KCSAN: data-race in {functions}"
            self.assertEqual(len(check_console(report, False)), lines)

    def test_trace_is_excused_with_its_report_only(self):
        self.assertEqual(check_console(OOM, True), [])
        self.assertEqual(check_console("Call Trace:\n", True), ["Call Trace:"])
        self.assertEqual(len(check_console(OOM + "Call Trace:\n", True)), 1)

    def test_trace_alone_is_reported_with_the_line_before(self):
        report = "x: some error\nCPU: 1 PID: 2 Comm: x\nHardware name: QEMU\nCall Trace:\n"
        self.assertEqual(check_console(NOISE + report, True), ["Call Trace: x: some error"])

    def test_what_a_setting_provokes_is_excused_with_it_only(self):
        report = "storm: vmalloc error: size 16384, failed to allocate pages\nCall Trace:\n"
        self.assertEqual(check_console(report, False, "NODES=4 FAIL=fail_page_alloc"), [])
        self.assertEqual(len(check_console(report, False, "FAIL=failslab")), 2)

    def test_ends(self):
        half = GOOD[:GOOD.index("  ok 2")]
        panic = NOISE + "Kernel panic - not syncing: x\n"
        self.assertEqual(outcome(half, panic)[0], "panic")
        self.assertEqual(outcome(half, status=137)[0], "hang")
        self.assertEqual(outcome(half, status=1)[0], "lost")
        self.assertEqual(outcome(half)[0], "results")
        # Results that are complete do not make up for how the guest ended.
        self.assertEqual(outcome(GOOD, panic, skip=".")[0], "panic")
        self.assertEqual(outcome(GOOD, status=137, skip=".")[0], "hang")


if __name__ == "__main__":
    unittest.main()
