#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Compare what the host's perf counted beside a guest with what the emulator knows.

check_marks.py FILE: FILE holds the marks of one run of tests/guest/run; the run's console.log
stands beside it. hostcount counts the host's instructions between marks 1 and 2; the emulator
tells host and guest apart itself. Not a single one of the guest's instructions may be among those
counted. A few of the host's are missing: between giving the PMU away and taking it back perf does
not count. With DEBUG=1 in the environment, those few may be most of what there is: a kernel that
checks itself can't be judged then. Prints KTAP; exit status 0 if nothing failed.
"""

import json
import os
import re
import sys

TOLERANCE = 100000  # 0.1 % of the 10^8 instructions of the guest's loop
ENABLE_DISABLE = 20000  # perf and /dev/port, between mark and event
AROUND_GUEST = 6000  # per VM-exit: loading and putting the guest's PMU, and KVM's run loop


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    with open(sys.argv[1], encoding="utf-8") as f:
        windows = [line for line in map(json.loads, f) if line["mark"] == 2]
    with open(os.path.join(os.path.dirname(sys.argv[1]), "console.log"), encoding="utf-8", errors="replace") as f:
        counts = re.findall(r"# host, a guest's loop of (\S+).*?: (\d+) (\d+) ", f.read())
    failed = 0
    print("KTAP version 1\n1..3")
    ok = len(windows) == len(counts) == 2
    failed += not ok
    print(f"{'ok' if ok else 'not ok'} 1 - marks: two windows ({len(windows)} in the marks, {len(counts)} counted)")
    for n, (window, (loop, user, kernel)) in enumerate(zip(windows, counts), 2):
        host = sum(cpu["host"]["instructions"] for cpu in window["cpus"])
        guest = sum(cpu["guest"]["instructions"] for cpu in window["cpus"])
        exits = sum(cpu["vm_exits"] for cpu in window["cpus"])
        counted = int(user) + int(kernel)
        print(f"# guest's loop of {loop}: the host's perf counted {counted}, the emulator {host}, {exits} exits, and {guest} of "
              "the guest")
        ok = host - ENABLE_DISABLE - exits * AROUND_GUEST <= counted <= host + TOLERANCE and guest >= 10**7
        skip = not ok and os.environ.get("DEBUG") == "1" and counted <= host + TOLERANCE and guest >= 10**7
        failed += not ok and not skip
        print(f"{'ok' if ok or skip else 'not ok'} {n} - marks: the host's perf counted the host's instructions only"
              f"{' # SKIP not judged with the debugging kernel' if skip else ''}")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
