#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Compare what the pristine and the patched KVM tell user space.

compare.py MACHINE VENDOR base=LOG patched=LOG: the LOGs have lines "abi: off|on FACT" (see run and abi.c).  What the
patched kernel says with the parameter off, and what it says with the parameter on, is compared with what the pristine
kernel says.
Each difference must stand in the list `differences`, and each line of the list about this machine must have happened.
Prints KTAP; exit status 0 if nothing failed.

Example: compare.py tcg-amd amd base=build/test/abi.tcg-amd.base/console.log \\
                                patched=build/test/abi.tcg-amd.patched/console.log
"""

import fnmatch
import itertools
import os
import re
import sys

LIST = os.path.join(os.path.dirname(os.path.abspath(__file__)), "differences")
REGISTER = re.compile(r"^[0-9a-f]{8}$")


def facts(log):
    """{parameter: {fact's name: value}} of one run's console."""
    found = {}
    with open(log, encoding="utf-8", errors="replace") as f:
        for line in f:
            words = line.split()
            if len(words) >= 4 and words[0] == "abi:" and words[1] in ("off", "on"):
                found.setdefault(words[1], {})[" ".join(words[2:-1])] = words[-1]
    return found


def differences(base, patched):
    """{name: "OLD->NEW"}; registers by bit, as "NAME BIT"; "-" stands for what is not there."""
    found = {}
    for name in base.keys() | patched.keys():
        old, new = base.get(name, "-"), patched.get(name, "-")
        if old == new:
            continue
        if REGISTER.match(old) and REGISTER.match(new):
            a, b = int(old, 16), int(new, 16)
            for bit in range(32):
                if (a ^ b) >> bit & 1:
                    found[f"{name} {bit}"] = f"{a >> bit & 1}->{b >> bit & 1}"
        else:
            found[name] = f"{old}->{new}"
    return found


class Rule:
    """One line of the list, about one of its alternatives."""

    def __init__(self, parameter, machines, words, change, reason):
        self.parameter = parameter
        self.machines = machines
        self.words = words
        self.change = change
        self.reason = reason
        self.happened = False

    def is_for(self, machine, vendor):
        return any(fnmatch.fnmatchcase(name, pattern) for pattern in self.machines for name in (machine, vendor, "all"))

    def matches(self, parameter, name, change):
        return (parameter == self.parameter and fnmatch.fnmatchcase(name, self.words) and
                fnmatch.fnmatchcase(change, self.change))


def rules():
    """The list: PARAMETERS MACHINES | NAME OF THE FACT | CHANGE | REASON"""
    found = []
    with open(LIST, encoding="utf-8") as f:
        for number, line in enumerate(f, 1):
            line = line.strip()
            if not line or line.startswith("#"):
                continue
            parts = [part.strip() for part in line.split("|", 3)]
            where = parts[0].split()
            if len(parts) != 4 or len(where) != 2 or not all(parts):
                sys.exit(f"{LIST}, line {number}: not PARAMETERS MACHINES | NAME | CHANGE | REASON")
            words = [word.split(",") for word in parts[1].split()]
            for parameter, *name in itertools.product(where[0].split(","), *words):
                found.append(Rule(parameter, where[1].split(","), " ".join(name), parts[2], parts[3]))
    return found


class Report:
    def __init__(self):
        self.count = self.failed = 0
        print("KTAP version 1")

    def result(self, ok, name, diagnostics=()):
        self.count += 1
        self.failed += not ok
        if not ok:
            for line in diagnostics:
                print(f"# {line}")
        print(f"{'ok' if ok else 'not ok'} {self.count} - {name}")

    def end(self):
        print(f"1..{self.count}")
        return int(self.failed > 0)


def main():
    if len(sys.argv) != 5:
        sys.exit(__doc__)
    machine, vendor = sys.argv[1:3]
    logs = dict(arg.split("=", 1) for arg in sys.argv[3:])
    base, patched = facts(logs["base"]), facts(logs["patched"])
    report = Report()
    have = [base.get("off", {}), patched.get("off", {}), patched.get("on", {})]
    report.result(all(have), "facts of the pristine kernel, and with the parameter off and on",
                  [f"{len(found)} facts" for found in have])
    expected = [rule for rule in rules() if rule.is_for(machine, vendor)]
    for parameter in ("off", "on"):
        unexpected = []
        for name, change in sorted(differences(base.get("off", {}), patched.get(parameter, {})).items()):
            matching = [rule for rule in expected if rule.matches(parameter, name, change)]
            for rule in matching:
                rule.happened = True
            if not matching:
                unexpected.append(f"{parameter} {machine} | {name} | {change} |")
        for rule in expected:
            if rule.parameter == parameter:
                report.result(rule.happened, f"parameter {parameter}: {rule.words}: {rule.change}, {rule.reason}",
                              ["is in the list, but did not happen"])
        if len(unexpected) > 60:
            unexpected[60:] = [f"... and {len(unexpected) - 60} more"]
        report.result(not unexpected, f"parameter {parameter}: nothing else differs", unexpected)
    return report.end()


if __name__ == "__main__":
    sys.exit(main())
