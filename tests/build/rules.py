#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Compare the tables of rules in tests/*/rules with the tests and the kernel files that they name.

usage: rules.py TESTS GIT BASE TIP

TESTS is the directory of the suites, GIT a repository with the kernel's series, from commit BASE to TIP. A table is a
list of rules with empty lines between them; lines that begin with '#' are comments. The text of a rule is followed by
lines that begin with a tab and a word:

    file PATH...            files of the kernel that keep the rule
    test NAME...            tests of the suite that fail without it
    untested REASON

NAME is a file of the suite's directory; for KUnit it is SUITE:CASE; for selftests it is PROGRAM or, for a program
that the series adds, PROGRAM:TEST. Fails if a rule is incomplete or names a file or a test that does not exist.
Prints the tests that no rule names; a program that is named as a whole has all of its tests named.

Example: tests/build/rules.py tests build/linux base HEAD
"""

import os
import re
import subprocess
import sys

SELFTESTS = "tools/testing/selftests/kvm/x86_64/"
SELFTEST_CASE = re.compile(r'^(?:TEST\(|(?:TEST_F|KVM_ONE_VCPU_TEST)\(\w+, |static void (?=test_)|\t*run\(")(\w+)', re.M)
KUNIT_CASE = re.compile(r"\bKUNIT_CASE\w*\((\w+)")
KUNIT_SUITE = re.compile(r'\.name = "([^"]+)",\n(?:\t.*\n)*?\t\.test_cases = (\w+)')


def git(where, *args):
    return subprocess.run(["git", "-C", where, *args], stdout=subprocess.PIPE, check=True).stdout.decode()


def kunit_tests(show, added):
    """{SUITE:CASE} of the KUnit suites that the series adds."""
    tests = set()
    for path in added:
        if not path.endswith("_kunit.c"):
            continue
        text = show(path)
        for suite, cases in KUNIT_SUITE.findall(text):
            array = text[text.index("kunit_case %s[]" % cases):]
            tests |= {"%s:%s" % (suite, case) for case in KUNIT_CASE.findall(array[:array.index("};")])}
    return tests


def selftests_tests(show, added):
    """{PROGRAM:TEST} of the programs that the series adds."""
    tests = set()
    for path in added:
        if path.startswith(SELFTESTS):
            program = path[len(SELFTESTS):].removesuffix(".c")
            tests |= {"%s:%s" % (program, test) for test in SELFTEST_CASE.findall(show(path))}
    return tests


def rules(path):
    """[(line number, text, {word: [values]})] of a table."""
    found = []
    fresh = True
    with open(path, encoding="utf-8") as f:
        for number, line in enumerate(f, 1):
            line = line.rstrip("\n")
            if line.startswith("#"):
                continue
            if not line:
                fresh = True
            elif line.startswith("\t"):
                word, _, rest = line[1:].partition(" ")
                if not found or fresh:
                    raise SystemExit("%s:%d: no rule that this line belongs to" % (path, number))
                found[-1][2].setdefault(word, []).extend([rest] if word == "untested" else rest.split())
            elif fresh:
                found.append((number, line, {}))
                fresh = False
            else:
                found[-1] = (found[-1][0], found[-1][1] + " " + line, found[-1][2])
    return found


def check(tests, suite, files, known, own):
    """What is wrong with the table of a suite, and the tests that it does not name."""
    table = os.path.join(tests, suite, "rules")
    wrong, named = [], set()
    for number, text, words in rules(table):
        where = "tests/%s/rules:%d: %s" % (suite, number, text if len(text) < 60 else text[:57] + "...")
        for word in words.keys() - {"file", "test", "untested"}:
            wrong.append("%s: '%s' is neither file, test nor untested" % (where, word))
        if ("test" in words) == ("untested" in words):
            wrong.append("%s: needs a test, or 'untested' and a reason" % where)
        for path in words.get("file", []):
            if path not in files:
                wrong.append("%s: the kernel has no file %s" % (where, path))
        for test in words.get("test", []):
            if test not in known and test not in own:
                wrong.append("%s: there is no test %s" % (where, test))
            named.add(test)
    return wrong, {test for test in own if test not in named and test.split(":")[0] not in named}


def main():
    if len(sys.argv) != 5 or sys.argv[1].startswith("-"):
        print(__doc__.strip())
        sys.exit(0 if sys.argv[1:2] in (["-h"], ["--help"]) else 2)
    tests, where, base, tip = sys.argv[1:]
    files = set(git(where, "ls-tree", "-r", "--name-only", tip).split("\n"))
    added = git(where, "diff", "--name-only", "--no-renames", "--diff-filter=A", base, tip).split("\n")

    def show(path):
        return git(where, "show", "%s:%s" % (tip, path))

    programs = {path[len(SELFTESTS):].removesuffix(".c") for path in files
                if path.startswith(SELFTESTS) and path.endswith(".c")}
    wrong = []
    tables = 0
    for suite in sorted(os.listdir(tests)):
        directory = os.path.join(tests, suite)
        if not os.path.isdir(directory):
            continue
        # Which tests there are, and which of them have to be named.
        if suite == "kunit":
            known, own = set(), kunit_tests(show, added)
        elif suite == "selftests":
            known, own = programs, selftests_tests(show, added)
        else:
            known = set(os.listdir(directory)) - {"rules", "suite"}
            own = known if suite == "caps" else set()
            own = own - {"here"}
        if not os.path.exists(os.path.join(directory, "rules")):
            if own:
                print("tests/%s has no table of rules" % suite)
            continue
        tables += 1
        faults, unnamed = check(tests, suite, files, known, own)
        wrong += faults
        for test in sorted(unnamed):
            print("no rule in tests/%s/rules names %s" % (suite, test))
    for fault in wrong:
        print(fault)
    if not tables:
        wrong.append("no table")
        print("no table of rules in %s" % tests)
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
