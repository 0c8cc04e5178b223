#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""The table of ./vpmu bench.

table.py [--json FILE] [--plot FILE] [--ratio A B] NAME MARKS CONSOLE [NAME MARKS CONSOLE]...: for each run its name, what
the emulator wrote at the marks, and the console, whose lines "bench: WORK TIMES MARK" say what lies between marks MARK
and MARK + 1. From each piece of work what "nothing" of its group costs is taken off, and the rest is divided by TIMES, or
by the exits where TIMES is no more than a guess. --ratio adds a column with the figures of run A divided by those of run
B. --plot draws the host's instructions, by gnuplot.

Example: table.py off build/bench/off build/run/bench/off/console.log on build/bench/on build/run/bench/on/console.log
"""

import argparse
import json
import re
import subprocess
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
    "cpuid-branches": "exit: CPUID, guest records branches",
    "cpuid-three": "exit: CPUID, 3 events on both",
    "cpuid-three-no-pmu": "exit: CPUID, 3 of the host, VM without PMU",
    "interrupt": "exit: interrupt of the host",
    "interrupt-no-pmu": "exit: interrupt, VM without a PMU",
    "interrupt-cycles": "exit: interrupt, guest counts cycles",
    "fault": "exit: EPT or NPT violation",
    "selector": "exit: WRMSR to a selector",
    "turns": "user exits, two vCPUs in turns",
    "turns-branches": "the same, both record branches",
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
    "full-sampled": "guest, PERF_METRICS: perf record, each sample",
    "full-sample": "guest, the same, without perf's own part",
    "full-topdown": "guest, PERF_METRICS: perf stat, top-down",
    "lbr-sampled": "guest: perf record -b, each sample",
    "lbr-sample": "guest, the same, without perf's own part",
    "nested-user": "nested: exit to the guest's user space",
    "nested-cpuid": "nested: exit: CPUID",
}
NOTHING = {"pmu": "pmu-nothing", "lbr": "lbr-nothing", "full": "full-nothing", "nested": "nested-nothing"}
# How many there are is up to the time that the work takes: each of their exits is one.
PER_EXIT = ("interrupt", "interrupt-no-pmu", "interrupt-cycles")


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
        if work in PER_EXIT:
            if raw[work][1]["exits"] < int(times) / 4:
                sys.exit(f"table.py: {console}: {raw[work][1]['exits']} exits for {work} {times}")
            raw[work] = (raw[work][1]["exits"], raw[work][1])
    found = {}
    for work, (times, sums) in raw.items():
        nothing = NOTHING.get(work.split("-")[0], "nothing")
        if work != nothing:
            found[work] = {key: (value - raw[nothing][1][key]) / times for key, value in sums.items()}
    # perf record reads all symbols of the kernel when it begins, however few samples it will take.
    for group, record in ("pmu", "pmu-record"), ("full", "pmu-record"), ("lbr", "lbr-record"):
        if f"{group}-sampled" in raw and record in raw:
            times, sums = raw[f"{group}-sampled"]
            found[f"{group}-sample"] = {key: (value - raw[record][1][key]) / times for key, value in sums.items()}
    return found


def number(value):
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.2f}".rstrip("0").rstrip(".")


def ratio(one, other, work, key):
    """That of two runs, as text; empty where it says nothing."""
    if work not in one or work not in other or other[work][key] < 0.5:
        return ""
    return f"{one[work][key] / other[work][key]:.2f}"


# What the plot shows: works, and what their names there are.  An exit is the same thing each time, linear; work of guests
# differs by orders of magnitude.
PLOTS = (
    ("Host instructions for an exit", "", {
        "cpuid-no-pmu": "CPUID,\\nno PMU", "cpuid": "CPUID,\\nPMU idle", "cpuid-cycles": "counts\\ncycles",
        "cpuid-insns": "counts\\ninstructions", "cpuid-watched": "watchdog\\non the host",
        "cpuid-both": "watchdog\\non both", "cpuid-three": "3 events\\non both",
        "interrupt-cycles": "interrupt\\nof host", "selector": "selector\\nwritten", "user": "to user\\nspace"}),
    ("Host instructions for PMU work of a guest", "set logscale y", {
        "pmu-switches-counted": "write to a pipe,\\n4 events counted", "pmu-sampled": "a sample of\\nperf record",
        "pmu-stat": "perf stat,\\n4 events", "pmu-multiplexed": "perf stat,\\n15 events"}),
)
COLOURS = ("#9aa5b1", "#5b7fb4", "#2f9e6e", "#c9743b", "#8b5fa8")


def plot(runs, out):
    script = [f"set terminal svg size 960,800 font 'sans,12' background 'white'\nset output '{out}'",
              "set multiplot layout 2,1",
              "set style data histogram\nset style histogram clustered gap 1\nset style fill solid border -1",
              "set boxwidth 0.9\nset grid y\nset key top left horizontal\nset bmargin 4",
              "set xtics scale 0\nset format y '%.0s%c'"]
    for number_of, (title, more, works) in enumerate(PLOTS):
        shown = {work: name for work, name in works.items() if any(work in run for run in runs.values())}
        block = [f"$data{number_of} << END"]
        for work, name in shown.items():
            block.append(f'"{name}" ' + " ".join(
                f"{run[work]['host']:.0f}" if work in run else "NaN" for run in runs.values()))
        top = max(run[work]["host"] for run in runs.values() for work in shown if work in run)
        script += block + ["END", f"set title '{title}'", more or "unset logscale y",
                           f"set yrange [{100 if more else 0}:{top * (20 if more else 1.25):.0f}]",
                           "plot " + ", ".join(
                               f"$data{number_of} using {column + 2}:xtic(1) title '{name}' "
                               f"linecolor rgb '{COLOURS[column % len(COLOURS)]}'"
                               for column, name in enumerate(runs))]
    script.append("unset multiplot")
    subprocess.run(["gnuplot"], input="\n".join(script) + "\n", text=True, check=True)


def main():
    parser = argparse.ArgumentParser(add_help=False, usage=__doc__)
    parser.add_argument("--json")
    parser.add_argument("--plot")
    parser.add_argument("--ratio", nargs=2)
    parser.add_argument("runs", nargs="*")
    args = parser.parse_args()
    given = args.runs
    if not given or len(given) % 3:
        sys.exit(__doc__)
    runs = {name: read(marks, console) for name, marks, console in zip(given[::3], given[1::3], given[2::3])}
    one, other = (runs[name] for name in args.ratio) if args.ratio else (None, None)
    figures = {"host": "host instructions", "exits": "VM exits", "msrs": "PMU registers, by the host", "pmis": "PMIs"}
    for key, title in figures.items():
        print(f"\n{title + ', each time':42}" + "".join(f"{name:>16}" for name in runs) +
              (f"{'/'.join(args.ratio):>16}" if args.ratio else ""))
        for work, name in TITLES.items():
            values = [run[work][key] if work in run else None for run in runs.values()]
            if all(value is None or abs(value) < 0.005 for value in values):
                continue
            print(f"{name:42}" + "".join(f"{'-' if v is None else number(v):>16}" for v in values) +
                  (f"{ratio(one, other, work, key):>16}" if args.ratio else ""))
    if args.json:
        with open(args.json, "w", encoding="utf-8") as f:
            json.dump(runs, f, indent=1)
            f.write("\n")
    if args.plot:
        plot(runs, args.plot)
    missing = [f"{name}: {work}" for name, run in runs.items() for work in TITLES
               if work not in run and not work.startswith(("full-", "lbr-")) and not work.endswith("-branches")]
    if missing:
        sys.exit("table.py: no figures of " + ", ".join(missing))


if __name__ == "__main__":
    main()
