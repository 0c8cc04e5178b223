#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Is the list `except` about tests, machines and runs that exist, and does no test fall through it?

compare.py MACHINE VENDOR VARIANT=LOG...: the LOGs of all runs on MACHINE name each test, those that ran and those that
did not (see run). A line of the list with a name that none has, or that lets a test run nowhere although it says that
it runs somewhere, is a mistake. Prints KTAP; exit status 0 if nothing failed.

Example: compare.py zen4 amd on=build/test/selftests.zen4.on/console.log off=build/test/selftests.zen4.off/console.log
"""

import os
import re
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
MACHINES = os.path.join(HERE, "../../rig/machines")
VENDORS = ("intel", "amd")
KINDS = ("perf", "slow", "debug", "fails", "smp", "both", "only", "checks", "needs", "again")


def suite_runs():
    """{MACHINE.VARIANT} of the file `suite`."""
    with open(os.path.join(HERE, "suite"), encoding="utf-8") as f:
        lines = f.read().splitlines()
    machines = [name for line in lines if line.startswith("machines=") for name in line.partition("=")[2].split()]
    variants = [line.partition("=")[2].split()[0] for line in lines if line.startswith("variant=")]
    return {f"{machine}.{variant}" for machine in machines for variant in variants}


def rules():
    """[(line number, kind, test, where, reason)] of the list."""
    with open(os.path.join(HERE, "except"), encoding="utf-8") as f:
        return [(number, *line.split(None, 3)) for number, line in enumerate(f, 1)
                if line.strip() and not line.startswith("#")]


def tests(log):
    """(those that ran, all that the log names)"""
    with open(log, encoding="utf-8", errors="replace") as f:
        text = f.read()
    ran = set(re.findall(r"^# (\S+): exit status", text, re.M))
    return ran, ran | set(re.findall(r"^# not run: (\S+) ", text, re.M))


def main():
    machine = sys.argv[1]
    runs, names, ran, wrong = suite_runs(), set(), {}, []
    for arg in sys.argv[3:]:
        variant, _, log = arg.partition("=")
        ran[f"{machine}.{variant}"], known = tests(log)
        names |= known
    for number, kind, test, where, reason in rules():
        at = f"except, line {number}: {test}"
        if kind not in KINDS:
            wrong.append(f"{at}: no kind '{kind}'")
        elif test not in names:
            wrong.append(f"{at}: there is no such test")
        elif kind == "again" and not reason.rpartition("fails with: ")[2].strip():
            wrong.append(f"{at}: does not say what it fails with")
        elif kind == "only":
            for run in where.split(","):
                if run not in runs:
                    wrong.append(f"{at}: there is no run '{run}'")
                elif run in ran and test not in ran[run]:
                    wrong.append(f"{at}: did not run in {run}, where it says that it does")
        elif where not in ("all", *VENDORS) and not os.path.exists(os.path.join(MACHINES, where)):
            wrong.append(f"{at}: there is no machine '{where}'")
    print("KTAP version 1\n1..1")
    for line in wrong:
        print(f"# {line}")
    print(f"{'not ok' if wrong else 'ok'} 1 the list of exceptions is about what there is")
    sys.exit(1 if wrong else 0)


main()
