#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Add up KTAP.

ktap.py LOG [--status N] [--stderr FILE]: reads what a suite printed (other lines in between do no harm) and
prints each failure and skip with its diagnostics, then "PASSED FAILED SKIPPED" as last line.

Nested results count, their parents do not. A suite also fails, as one test more each:
when it did not end well (--status other than 0 while nothing failed), when a plan promised
another number of results, when there is no result at all, and for each line
"vpmu: kernel complaint: ..." that L1 found in its kernel log.

Exit status 0; the numbers are the result.
"""

import argparse
import os
import re
import sys

RESULT = re.compile(r"^(\s*)(not )?ok (\d+)\b(?: - | -|- | )?(.*)$")
PLAN = re.compile(r"^(\s*)1\.\.(\d+)\b")
VERSION = re.compile(r"^(\s*)(?:KTAP|TAP) version \d+")
COMPLAINT = re.compile(r"^\s*vpmu: kernel complaint: (.*)$")
SKIP = re.compile(r"#\s*SKIP\b\s*(.*)$", re.I)


class Level:
    """One list of results: those at the same depth since its version line."""

    def __init__(self, indent):
        self.indent = indent
        self.plan = None
        self.results = 0


class Report:
    def __init__(self):
        self.passed = self.failed = self.skipped = 0
        self.levels = []
        self.diagnostics = []
        self.lines = []

    def fail(self, text):
        self.failed += 1
        self.lines.append(f"not ok: {text}")
        self.lines += [f"    {d}" for d in self.diagnostics[-20:]]
        self.diagnostics = []

    def close(self, level):
        """The end of a list of results: did they all come?"""
        if level.plan is not None and level.plan != level.results:
            self.fail(f"a plan of {level.plan} tests, {level.results} results")

    def enter(self, indent):
        """The list of results with this indentation; closes the deeper ones. True if there were any."""
        nested = False
        while self.levels and self.levels[-1].indent > indent:
            level = self.levels.pop()
            self.close(level)
            nested = nested or level.results > 0
        if not self.levels or self.levels[-1].indent < indent:
            self.levels.append(Level(indent))
        return nested

    def line(self, text):
        text = re.sub(r"^\[ *\d+\.\d+\] ", "", text.expandtabs(8))
        if match := COMPLAINT.match(text):
            self.fail("kernel complaint: " + match[1])
        elif match := VERSION.match(text):
            indent = len(match[1])
            self.enter(indent)
            # A second report at the same depth, of the same suite or the next one
            if self.levels[-1].results or self.levels[-1].plan is not None:
                self.close(self.levels.pop())
                self.levels.append(Level(indent))
        elif match := PLAN.match(text):
            self.enter(len(match[1]))
            self.levels[-1].plan = int(match[2])
        elif match := RESULT.match(text):
            self.result(match)
        elif text.lstrip().startswith("#"):
            self.diagnostics.append(text.strip())

    def result(self, match):
        indent, bad, name = len(match[1]), match[2], match[4].strip()
        parent = self.enter(indent)
        self.levels[-1].results += 1
        skip = SKIP.search(name)
        if parent and not (bad and not self.failed):
            pass  # its parts were counted
        elif skip and not bad:
            self.skipped += 1
            self.lines.append(f"skip: {name}")
        elif bad:
            self.fail(name)
        else:
            self.passed += 1
        self.diagnostics = []

    def end(self, status, stderr=()):
        while self.levels:
            self.close(self.levels.pop())
        if self.passed + self.failed + self.skipped == 0:
            self.fail("no test result")
        if status == 124:
            self.fail("time is up")
        elif status == 125:
            self.diagnostics += stderr
            self.fail("the emulated machine died")
        elif status and not self.failed:
            self.diagnostics += stderr
            self.fail(f"the suite ended with exit status {status}, but no test failed")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("log")
    parser.add_argument("--status", type=int, default=0)
    parser.add_argument("--stderr", help="its last lines say why a suite ended that way")
    args = parser.parse_args()
    report = Report()
    with open(args.log, encoding="utf-8", errors="replace") as f:
        for line in f:
            report.line(line.rstrip("\r\n"))
    stderr = []
    if args.stderr and os.path.exists(args.stderr):
        with open(args.stderr, encoding="utf-8", errors="replace") as f:
            stderr = [line.strip() for line in f.readlines()[-5:]]
    report.end(args.status, stderr)
    for line in report.lines:
        print(line)
    print(report.passed, report.failed, report.skipped)
    return 0


if __name__ == "__main__":
    sys.exit(main())
