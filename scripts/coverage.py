#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""coverage.py KERNEL TREE OUT RUN...: which lines of the series' new files did the runs execute?

KERNEL has the .gcno files of the build, the directory gcov of each RUN its .gcda files, TREE is the source. OUT/table.txt
gets a line for each file, OUT/missed.txt each line that nobody executed. For scripts/test.
"""

import json
import os
import shutil
import subprocess
import sys


def run(*args):
    return subprocess.run(args, check=True, capture_output=True, text=True).stdout


def merge(runs, out):
    """All runs' counts in one directory"""
    merged = None
    for i, r in enumerate(runs):
        if merged is None:
            merged = r
            continue
        to = f"{out}/merge.{i % 2}"
        shutil.rmtree(to, ignore_errors=True)
        run("gcov-tool", "merge", "-o", to, merged, r)
        merged = to
    return merged


def main():
    kernel, tree, out, *runs = sys.argv[1:]
    tree = os.path.realpath(tree)
    # What compares runs has none itself.
    runs = [r for r in runs if not r.rstrip("/").endswith(".compare")]
    silent = [os.path.basename(r.rstrip("/")) for r in runs if not os.path.isdir(f"{r}/gcov")]
    runs = [f"{r}/gcov" for r in runs if os.path.isdir(f"{r}/gcov")]
    if silent:
        print("runs that did not tell what they executed:", *silent)
    if not runs:
        sys.exit("error: no run has told what it executed")
    with open(f"{kernel}/gcno/objects", encoding="utf-8") as f:
        objects, was = f.read().splitlines()
    shutil.rmtree(out, ignore_errors=True)
    os.makedirs(out)
    merged = merge(runs, out)

    lines = {}          # file: {line: [count, function]}
    for top, _, files in os.walk(f"{kernel}/gcno"):
        for name in files:
            if not name.endswith(".gcno"):
                continue
            path = os.path.relpath(top, f"{kernel}/gcno")
            here = os.path.join(out, "objects", path)
            os.makedirs(here, exist_ok=True)
            shutil.copy(os.path.join(top, name), here)
            data = os.path.join(merged + objects, path, name[:-1 * len("gcno")] + "gcda")
            if os.path.exists(data):
                shutil.copy(data, here)
            for line in run("gcov", "--json-format", "--stdout", os.path.join(here, name)).splitlines():
                for file in json.loads(line)["files"]:
                    # The checkout that built it may have been another one.
                    source = os.path.normpath(os.path.join(objects, file["file"]))
                    if not source.startswith(was + "/") or not source.endswith(".c"):
                        continue
                    of = lines.setdefault(source[len(was) + 1:], {})
                    for each in file["lines"]:
                        had = of.setdefault(each["line_number"], [0, each.get("function_name", "")])
                        had[0] += each["count"]

    new = set(run("git", "-C", tree, "diff", "--diff-filter=A", "--name-only", "base", "--", "*.c").split())
    new = {f for f in new if not f.startswith("tools/") and not f.endswith("_kunit.c")}
    if not new & set(lines):
        sys.exit(f"error: {kernel}/gcno has none of the series' files")
    with open(f"{out}/table.txt", "w", encoding="utf-8") as table, \
            open(f"{out}/missed.txt", "w", encoding="utf-8") as missed:
        table.write("file                                       lines  executed\n")
        whole = [0, 0]
        for file in sorted(set(lines) & new):
            of = lines[file]
            executed = sum(1 for count, _ in of.values() if count)
            whole[0] += len(of)
            whole[1] += executed
            table.write(f"{file:42} {len(of):5}   {100 * executed / len(of):5.1f} %\n")
            with open(f"{tree}/{file}", encoding="utf-8") as f:
                text = f.read().splitlines()
            for n in sorted(of):
                if not of[n][0]:
                    missed.write(f"{file}:{n}: {of[n][1]}: {text[n - 1].strip()}\n")
        table.write(f"{'together':42} {whole[0]:5}   {100 * whole[1] / whole[0]:5.1f} %\n")
    with open(f"{out}/table.txt", encoding="utf-8") as table:
        print("executed lines of the series' new files, of all runs together:")
        print("".join("  " + line for line in table), end="")
    print(f"  those that no run executed: {out}/missed.txt")
    for leftover in ("merge.0", "merge.1", "objects"):
        shutil.rmtree(f"{out}/{leftover}", ignore_errors=True)
    if new - set(lines):
        sys.exit(f"error: not counted: {' '.join(sorted(new - set(lines)))}")


main()
