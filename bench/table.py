#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""The table of ./vpmu bench.

table.py [--json FILE] NAME MARKS CONSOLE [NAME MARKS CONSOLE]...: for each run its name, what the emulator wrote at the
marks, and the console, whose lines "bench: WORK TIMES MARK" say what lies between marks MARK and MARK + 1.  From each piece
of work what "nothing" of its group costs is taken off, and the rest is divided by TIMES.

Example: table.py off build/bench/off build/run/bench/off/console.log on build/bench/on build/run/bench/on/console.log
"""

import json
import re
import sys

# Of the work: title; the first column is what the group's "nothing" took, which is subtracted.
TITLES = {
    "set-cpuid": "KVM_SET_CPUID2, before the first run",
    "set-cpuid-ran": "KVM_SET_CPUID2, after it, unchanged",
    "cr4": "KVM_SET_SREGS with another CR4",
    "vcpu": "VM and vCPU: created, run once, closed",
    "user": "exit to user space and back",
    "cpuid": "exit: CPUID",
    "msr": "exit: RDMSR",
    "cpuid-no-pmu": "exit: CPUID, VM without a PMU",
    "cpuid-watched": "exit: CPUID, watchdog's event on the host",
    "cpuid-cycles": "exit: CPUID, guest counts cycles",
    "cpuid-insns": "exit: CPUID, guest counts instructions",
    "cpuid-both": "exit: CPUID, watchdog's event on both",
    "fault": "exit: EPT or NPT violation",
    "selector": "exit: WRMSR to a selector",
    "turns": "user exits, two vCPUs in turns",
    "event": "perf_event_open() and close()",
    "fork": "fork() with 4 inherited events",
    "pmu-loop": "guest: a loop, nothing counted",
    "pmu-stat": "guest: perf stat of it, 4 events",
    "pmu-multiplexed": "guest: perf stat of it, 15 events",
    "pmu-switches": "guest: a pipe's write, 2 switches",
    "pmu-switches-counted": "guest: the same, 4 events counted",
    "pmu-sampled": "guest: perf record, for each sample",
    "pmu-sample": "guest: the same, without perf's own part",
    "pmu-record": "guest: perf record of nothing",
    "nested-user": "nested: exit to the guest's user space",
    "nested-cpuid": "nested: exit: CPUID",
}
NOTHING = {"pmu": "pmu-nothing", "nested": "nested-nothing"}


def total(line):
    """The sums over all processors that the table shows."""
    sums = {"host": 0, "guest": 0, "exits": 0, "msrs": 0, "pmis": 0}
    for cpu in line["cpus"]:
        sums["host"] += cpu["host"]["instructions"]
        sums["guest"] += cpu["guest"]["instructions"]
        sums["exits"] += cpu["vm_exits"]
        for kind in ("rdmsr", "wrmsr"):
            sums["msrs"] += cpu["host"][kind]["pmu"]
        for kind in ("msr_load", "msr_store"):
            sums["msrs"] += cpu[kind]["pmu"]
        sums["msrs"] += cpu["host"]["rdpmc"]
        sums["pmis"] += cpu["host"]["pmis"] + cpu["guest"]["pmis"]
    return sums


def read(marks, console):
    """{work: {figure: per time}} of one run."""
    with open(marks, encoding="utf-8") as f:
        lines = [json.loads(line) for line in f]
    ends = {}
    for before, line in zip(lines, lines[1:]):
        if line["mark"] == before["mark"] + 1:
            ends[before["mark"]] = total(line)
    with open(console, encoding="utf-8", errors="replace") as f:
        works = re.findall(r"^bench: (\S+) (\d+) (\d+)\r?$", f.read(), re.M)
    raw = {}
    for work, times, mark in works:
        if int(mark) not in ends:
            sys.exit(f"table.py: {marks} has no interval from mark {mark} on, for {work}")
        raw[work] = (int(times), ends[int(mark)])
    found = {}
    for work, (times, sums) in raw.items():
        nothing = NOTHING.get(work.split("-")[0], "nothing")
        if work != nothing:
            found[work] = {key: (value - raw[nothing][1][key]) / times for key, value in sums.items()}
    # perf record reads all symbols of the kernel when it begins, however few samples it will take.
    if "pmu-sampled" in raw and "pmu-record" in raw:
        times, sums = raw["pmu-sampled"]
        found["pmu-sample"] = {key: (value - raw["pmu-record"][1][key]) / times for key, value in sums.items()}
    return found


def number(value):
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.2f}".rstrip("0").rstrip(".")


def main():
    args = sys.argv[1:]
    out = None
    if args[:1] == ["--json"]:
        out, args = args[1], args[2:]
    if not args or len(args) % 3:
        sys.exit(__doc__)
    runs = {name: read(marks, console) for name, marks, console in zip(args[::3], args[1::3], args[2::3])}
    figures = {"host": "host instructions", "exits": "VM exits", "msrs": "PMU registers, by the host", "pmis": "PMIs"}
    for key, title in figures.items():
        print(f"\n{title + ', each time':42}" + "".join(f"{name:>16}" for name in runs))
        for work, name in TITLES.items():
            values = [run[work][key] if work in run else None for run in runs.values()]
            if all(value is None or abs(value) < 0.005 for value in values):
                continue
            print(f"{name:42}" + "".join(f"{'-' if v is None else number(v):>16}" for v in values))
    if out:
        with open(out, "w", encoding="utf-8") as f:
            json.dump(runs, f, indent=1)
            f.write("\n")
    missing = [f"{name}: {work}" for name, run in runs.items() for work in TITLES if work not in run]
    if missing:
        sys.exit("table.py: no figures of " + ", ".join(missing))


if __name__ == "__main__":
    main()
