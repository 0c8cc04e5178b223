#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Check what the emulator wrote at the marks of suite rig.

usage: check_marks.py FILE

FILE is the emulator's (perfmon: marks=FILE) of one run of tests/rig/run. Prints KTAP; exit status
0 if nothing failed. Between the marks lies:

    1 -> 2  one program that does nothing but set the mark
    2 -> 3  loop 5000000: 10000064 instructions of its own
    3 -> 4  1000 reads of a PMU register (machines with a PMU)
    4 -> 5  50 VM entries; each guest retires ten instructions and ends with CPUID. On AMD's
            machines VMRUN, too, counts in the guest

Example: check_marks.py build/run/sapphire-rapids/marks
"""

import json
import sys

# The codes of exits: SDM vol. 3, appendix C; APM vol. 2, appendix C (one for both MSR accesses)
VMX = {"CPUID": "10", "RDPMC": "15", "RDMSR": "31", "WRMSR": "32"}
SVM = {"CPUID": str(0x72), "RDPMC": str(0x6F), "RDMSR": str(0x7C), "WRMSR": str(0x7C)}

tests = failed = 0


def check(name, good, told=""):
    global tests, failed
    tests += 1
    if not good:
        failed += 1
        if told:
            print(f"# {name}: {told}")
    print(f"{'ok' if good else 'not ok'} {tests} marks: {name}")


def equal(name, have, want):
    check(name, have == want, f"expected {want}, got {have}")


def within(name, have, low, high):
    check(name, low <= have <= high, f"expected {low} to {high}, got {have}")


def total(line, *path):
    """The sum over all processors of the number at this path; 0 where it is not mentioned."""
    value = 0
    for here in line["cpus"]:
        for step in path:
            here = here.get(step, 0) if isinstance(here, dict) else 0
        value += here
    return value


def check_lines(lines):
    marks = [line["mark"] for line in lines]
    equal("numbers count up from 0", [line["number"] for line in lines], list(range(len(lines))))
    want = [1, 2, 3, 4, 5] if 4 in marks else [1, 2, 3]
    equal("one line for each mark", marks, want)
    if marks != want:
        return
    line = dict(zip(marks, lines))

    check("ticks go by", all(line[mark]["ticks"] > 0 for mark in marks))
    for mark in marks:
        for cpu, counts in enumerate(line[mark]["cpus"]):
            reasons = sum(counts["vm_exits_by_reason"].values())
            equal(f"mark {mark}, CPU {cpu}: exits by reason add up", reasons, counts["vm_exits"])

    # Linux and a busybox shell around it: some 100000 instructions to start a program.
    idle = total(line[2], "host", "instructions")
    within("a program that only sets a mark", idle, 1000, 3000000)
    loop = total(line[3], "host", "instructions")
    within("a loop of 5000000", loop, 10000064 + 1000, 10000064 + 6000000)
    equal("no guest in it", total(line[3], "vm_entries") + total(line[3], "guest", "instructions"), 0)
    if 4 not in line:
        return

    within("1000 reads of a PMU register", total(line[4], "host", "rdmsr", "pmu"), 1000, 1000)
    equal("by no guest", total(line[4], "guest", "rdmsr", "pmu"), 0)

    equal("50 VM entries", total(line[5], "vm_entries"), 50)
    equal("50 VM exits", total(line[5], "vm_exits"), 50)
    amd = total(line[5], "vm_exits_by_reason", SVM["CPUID"]) > 0
    code = SVM if amd else VMX
    equal("all of them for CPUID", total(line[5], "vm_exits_by_reason", code["CPUID"]), 50)
    equal("ten instructions in each guest", total(line[5], "guest", "instructions"), 550 if amd else 500)
    check("writes of PMU registers around them", total(line[5], "host", "wrmsr", "pmu") >= 50 * 10)

    # All of suite rig before the first mark, with VM entries that fail on purpose.
    check("VM entries of the tests", total(line[1], "vm_entries") > 100)
    check("exits for RDPMC", total(line[1], "vm_exits_by_reason", code["RDPMC"]) > 0)
    check("exits for RDMSR", total(line[1], "vm_exits_by_reason", code["RDMSR"]) > 0)
    check("exits for WRMSR", total(line[1], "vm_exits_by_reason", code["WRMSR"]) > 0)
    check("RDPMC in host and guest", total(line[1], "host", "rdpmc") > 0 and total(line[1], "guest", "rdpmc") > 0)
    check("RDMSR in host and guest", total(line[1], "host", "rdmsr", "pmu") > 0 and
          total(line[1], "guest", "rdmsr", "pmu") > 0)
    if not amd:
        check("VM entries that failed", total(line[1], "vm_entry_failures") > 10)
        check("registers of the MSR areas",
              total(line[1], "msr_load", "pmu") > 0 and total(line[1], "msr_store", "pmu") > 0)
    check("PMIs in host and guest", total(line[1], "host", "pmis") > 0 and total(line[1], "guest", "pmis") > 0)


def main():
    if len(sys.argv) != 2 or sys.argv[1] in ("-h", "--help"):
        print(__doc__)
        return 0 if len(sys.argv) == 2 else 2
    print("KTAP version 1")
    lines = []
    try:
        with open(sys.argv[1], encoding="ascii") as file:
            for text in file:
                lines.append(json.loads(text))
        check("every line is JSON", True)
    except (OSError, ValueError) as error:
        check("every line is JSON", False, f"line {len(lines) + 1}: {error}")
    if lines:
        check_lines(lines)
    print(f"1..{tests}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
