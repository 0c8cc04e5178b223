#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""The verdict of the demo: verdict.py CONSOLE-LOG EXIT-STATUS PASSTHROUGH(0|1) BUSY(0|1).

Compares what rig/host/demo and rig/guest/demo left on the console with what must have been.
Exit status 0 if everything is as it must be.
"""

import re
import sys

SHORT, LONG = 1000000, 3000000  # iterations of tests/guest/loop
PER_ITERATION = {"instructions:u": 10, "branches:u": 2}
PERIOD = 100000  # of perf record, on a loop of LONG iterations
SAMPLER_PERIOD = 100000
SAMPLER_INSTRUCTIONS = 2 * 20000000


class Verdict:
    def __init__(self):
        self.good = True

    def line(self, ok, text):
        self.good = self.good and ok
        print(f"  {'ok ' if ok else 'BAD'}  {text}")


def results(text):
    """{first words: numbers} of the lines that are for us."""
    found = {}
    for match in re.finditer(r"^vpmu: result (\S+) (.*?)\r?$", text, re.M):
        name, *words = match[1], *match[2].split()
        if name in ("count", "busy"):
            found[name, words[1], int(words[0])] = int(words[2]) if words[2].isdigit() else None
        else:
            found[name] = words[0]
    for match in re.finditer(r"^sampler: (\w+) (.*?)\r?$", text, re.M):
        words = (match[1] + " " + match[2]).split()
        if match[1] == "count":
            found["sampler"] = dict(zip(words[::2], map(int, words[1::2])))
        elif match[1] == "alone" and len(words) == 6:
            found["alone"] = [int(w) for w in words[1:3]]
            found["sampled"] = [int(w) for w in words[4:6]]
    return found


def counts(verdict, found):
    for event, per_iteration in PER_ITERATION.items():
        short, long = (found.get(("count", event, n)) for n in (SHORT, LONG))
        want = (LONG - SHORT) * per_iteration
        if short is None or long is None:
            verdict.line(False, f"{event}: no count from the guest")
            continue
        verdict.line(long - short == want,
                     f"{event} of the guest: {long} - {short} = {long - short}, must be {want} "
                     f"({LONG - SHORT} iterations of {per_iteration})")


def busy(verdict, found):
    short, long = (found.get(("busy", "instructions:u", n)) for n in (SHORT, LONG))
    want = (LONG - SHORT) * PER_ITERATION["instructions:u"]
    verdict.line(None not in (short, long) and long - short == want,
                 f"a task of the host, beside the guest: instructions:u {long} - {short}, must differ by {want}")
    cycles = found.get(("busy", "cycles", LONG))
    verdict.line(bool(cycles), f"its cycles: {cycles}")
    verdict.line(found.get("watchdog") == "1", f"the NMI watchdog of the host reads {found.get('watchdog', 'nothing')}")


def samples(verdict, found):
    want = LONG * PER_ITERATION["instructions:u"] // PERIOD
    have = int(found.get("samples", 0))
    verdict.line(abs(have - want) <= 1, f"perf record in the guest: {have} samples, must be {want}, plus or minus one")
    sampler = found.get("sampler")
    if not sampler:
        verdict.line(False, "the guest's sampler did not finish")
        return
    want = SAMPLER_INSTRUCTIONS // SAMPLER_PERIOD
    verdict.line(abs(sampler["samples"] - want) <= 1 and sampler["lost"] == 0,
                 f"a loop sampled {sampler['samples']} times, must be {want}, plus or minus one; {sampler['lost']} lost")


def interrupts(verdict, found, passthrough):
    if "alone" not in found or "sampler" not in found:
        verdict.line(False, "no numbers of the host's exits and interrupts")
        return
    samples_taken = found["sampler"]["samples"]
    pmis = int(found.get("pmis", 0))
    exits = found["sampled"][0] - found["alone"][0]
    if passthrough:
        verdict.line(pmis > 0 and found["sampled"][1] >= samples_taken,
                     f"guest PMIs in the host's /proc/interrupts: {pmis}, {found['sampled'][1]} of them "
                     f"while the loop was sampled {samples_taken} times")
    else:
        verdict.line(pmis == 0, f"guest PMIs in the host's /proc/interrupts: {pmis}, must be 0 without passthrough")
    verdict.line(samples_taken > 0 and exits > 0,
                 f"exits per {'guest PMI' if passthrough else 'sample'}: {exits / max(samples_taken, 1):.1f} "
                 f"({found['sampled'][0]} exits with the loop sampled, {found['alone'][0]} without)")


def main():
    if len(sys.argv) != 5:
        sys.exit(__doc__)
    with open(sys.argv[1], encoding="utf-8", errors="replace") as f:
        text = f.read()
    status, passthrough = int(sys.argv[2]), sys.argv[3] == "1"
    found = results(text)
    verdict = Verdict()
    verdict.line(status == 0, f"the host ran to its end (exit status {status})")
    verdict.line(found.get("passthrough") == "NY"[passthrough],
                 f"enable_passthrough_pmu reads {found.get('passthrough', 'nothing')}")
    counts(verdict, found)
    samples(verdict, found)
    interrupts(verdict, found, passthrough)
    if sys.argv[4] == "1":
        busy(verdict, found)
    print(f"{'As it must be.' if verdict.good else 'NOT as it must be.'} The whole console: {sys.argv[1]}")
    return 0 if verdict.good else 1


if __name__ == "__main__":
    sys.exit(main())
