#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Does ./vpmu import file commits under the topics where they stand? No output if so."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "../../scripts"))

from patchset.importing import Commit, file_topics  # noqa: E402
from patchset.layout import SETS  # noqa: E402
from patchset.problem import Problem  # noqa: E402

TOPICS = SETS["linux"]["topics"]
SUBJECTS = {"kvm": b"KVM: x86: Do", "fix": b"KVM: x86: Mend", "perf": b"perf: Do", "test": b"KVM: selftests: Do",
            "other": b"mm: Do"}


def commit(kind):
    body = b"Fixes: 123456789abc (\"KVM: x86: Break\")\n" if kind == "fix" else b"Why.\n"
    return Commit("0" * 40, b"", b"", SUBJECTS[kind] + b"\n\n" + body, b":100644 100644 0 0 M\tarch/x86/kvm/cpuid.c\n\n")


# What each commit is, the topic that the series has for it, the topic that it gets
CASES = {
    "a new series": [("test", None, "selftests")],
    "what stays": [("kvm", "cpuid", "cpuid"), ("perf", "perf", "perf"), ("test", "selftests", "selftests")],
    "new among those of a topic": [("kvm", "cpuid", "cpuid"), ("perf", None, "cpuid"), ("kvm", "cpuid", "cpuid")],
    "new between two topics": [("kvm", "cpuid", "cpuid"), ("perf", None, "perf"), ("kvm", "kvm-pmu", "kvm-pmu")],
    "a mend in front": [("fix", None, "fixes"), ("kvm", "cpuid", "cpuid")],
    "a mend of the series' own, later": [("kvm", "cpuid", "cpuid"), ("fix", None, "cpuid"), ("kvm", "cpuid", "cpuid")],
    "in front of a mend": [("kvm", None, "fixes"), ("fix", None, "fixes"), ("kvm", "cpuid", "cpuid")],
    "moved to the front": [("perf", "perf", "fixes"), ("kvm", "cpuid", "cpuid"), ("kvm", "cpuid", "cpuid"),
                           ("perf", "perf", "perf"), ("perf", "perf", "perf")],
    "moved to a later topic": [("kvm", "cpuid", "cpuid"), ("kvm", "kvm-pmu", "kvm-pmu"), ("kvm", "kvm-pmu", "kvm-pmu"),
                               ("kvm", "cpuid", "kvm-pmu"), ("kvm", "kvm-pmu", "kvm-pmu")],
    "no topic in sight": [("kvm", "cpuid", "cpuid"), ("other", None, Problem), ("perf", "perf", "perf")],
    "among those of one topic": [("kvm", "cpuid", "cpuid"), ("other", None, "cpuid"), ("kvm", "cpuid", "cpuid")],
}

sys.stderr = open(os.devnull, "w", encoding="utf-8")    # the notes
wrong = 0
for name, case in CASES.items():
    kinds, known, expected = zip(*case)
    try:
        got = file_topics([commit(kind) for kind in kinds], list(known), TOPICS, None)
    except Problem:
        got = [Problem]
        expected = [topic for topic in expected if topic is Problem]
    if list(got) != list(expected):
        print("%s: %s, expected %s" % (name, got, expected))
        wrong = 1
sys.exit(wrong)
