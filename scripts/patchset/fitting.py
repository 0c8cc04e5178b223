# SPDX-License-Identifier: GPL-2.0
"""Less context, where that makes a patch apply to every version of the base."""

import os
import re
import shutil
import tempfile

from .building import build
from .git import Git, scratch_git
from .problem import Problem, say

HUNK = re.compile(rb"^@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@(.*)\n", re.M)


def pieces(lines):
    """Cut the lines of a hunk within each run of context between two changes: [(first index, last index + 1)]."""
    changes = [i for i, text in enumerate(lines) if text[:1] != b" "]
    cuts = [0]
    for i, j in zip(changes, changes[1:]):
        if j - i > 1:
            cuts.append(i + 1 + (j - i) // 2)
    cuts.append(len(lines))
    return list(zip(cuts, cuts[1:]))


def trimmed(diff, path, line, fits):
    """The diff with less context around one change, so that it fits; None if that does not help.

    The change: in file `path`, whose old lines begin at `line`. fits(old lines) tells whether they are to be found. Is
    the context between two of its lines in the way, it becomes two changes. Below a change stands at least one line of
    context, and not less than above: otherwise git apply or patch take its place for the end of the file. A block that
    ends like the context above it, or begins like the context below, can be told some lines higher or lower.
    """
    start = diff.find(b"diff --git a/%s b/" % os.fsencode(path))
    for match in HUNK.finditer(diff, max(start, 0)):
        if int(match[1]) == line:
            break
    else:
        return None
    end = re.compile(rb"^(@@ |diff --git )", re.M).search(diff, match.end())
    end = end.start() if end else len(diff)
    lines = diff[match.end():end].splitlines(keepends=True)
    if any(text.startswith(b"\\") for text in lines):
        return None

    def old(part):
        return [text[1:] for text in part if text[:1] in b" -"]

    def new(part):
        return [text[1:] for text in part if text[:1] in b" +"]

    def told(first, last):
        """The same change of lines[first:last] in all ways to tell it: whole lists like `lines`, as it is first."""
        yield lines
        marks = {text[:1] for text in lines[first:last]} - {b" "}
        begin = next(i for i in range(first, last) if lines[i][:1] != b" ")
        end = next(i for i in range(last, first, -1) if lines[i - 1][:1] != b" ")
        if len(marks) > 1 or any(text[:1] == b" " for text in lines[begin:end]):
            return
        mark = marks.pop()
        for step in (-1, 1):
            at = range(begin - 1, first - 1, -1) if step < 0 else range(end, last)
            moved = list(lines)
            for i in at:
                # The line that joins the block, and the one that leaves it at its other end.
                other = i - step * (end - begin)
                if moved[i][1:] != moved[other][1:]:
                    break
                moved[i], moved[other] = mark + moved[i][1:], b" " + moved[other][1:]
                yield list(moved)

    def shorten(first, last):
        """(`lines`, range of them) that fits with the most context, or None."""
        for way in told(first, last):
            part = way[first:last]
            lead = next(i for i, text in enumerate(part) if text[:1] != b" ")
            trail = next(i for i, text in enumerate(reversed(part)) if text[:1] != b" ")
            choices = [(a, b) for a in range(lead + 1) for b in range(min(trail, 1), trail + 1)
                       if b >= a or b == trail]
            for a, b in sorted(choices, key=lambda ab: (-sum(ab), abs(ab[0] - ab[1]))):
                found = first + lead - a, last - trail + b
                if fits(b"".join(old(way[found[0]:found[1]]))):
                    return way, found
        return None

    for cut in ([(0, len(lines))], pieces(lines)):
        parts = [shorten(*piece) for piece in cut]
        if None not in parts:
            break
    else:
        return None
    out = b""
    for way, (first, last) in parts:
        part = way[first:last]
        out += b"@@ -%d,%d +%d,%d @@%s\n" % (
            int(match[1]) + len(old(way[:first])), len(old(part)),
            int(match[3]) + len(new(way[:first])), len(new(part)), match[5]) + b"".join(part)
    return diff[:match.start()] + out + diff[end:]


def fit(staged, patches, overlay, store, tree):
    """Shorten the context of changes where that makes them apply to every version of the base that the store has.

    Fewer lines of context are no fuzz, but they could fit in more than one place: then they are left alone.
    """
    bases = {}
    for line in Git(store).out("for-each-ref", "--format=%(objectname) %(subject)", "refs/base").decode().splitlines():
        commit, subject = line.split(" ", 1)
        bases[Git(store).line("rev-parse", commit + "^{tree}")] = (commit, subject)
    wrong = []
    with tempfile.TemporaryDirectory(prefix="vpmu-") as tmp:
        scratch = scratch_git(tmp, tree, store)
        for commit, name in sorted(bases.values(), key=lambda base: base[1], reverse=True):
            saved = [(patch.diff, patch.raw) for patch in patches]
            told = []
            while True:
                try:
                    build(staged, scratch, commit)
                    for text in told:
                        say(text)
                    break
                except Problem as e:
                    if e.file is None:
                        raise
                    patch = next(patch for patch in patches if patch.file == e.file)
                    at = re.search(r"patch failed: (.*):(\d+)$", str(e), re.M)
                    shorter = None
                    if at and at[1] in e.state:
                        text = Git(scratch).out("cat-file", "blob", e.state[at[1]][1])
                        shorter = trimmed(patch.diff, at[1], int(at[2]), lambda old, text=text: text.count(old) == 1)
                    if shorter is None or shorter == patch.diff:
                        wrong.append("%s: %s" % (name, e))
                        for patch, (patch.diff, patch.raw) in zip(patches, saved):
                            pass
                        shutil.rmtree(staged.root)
                        staged.write(patches, overlay)
                        break
                    told.append("  %s: less context at %s:%s, for %s" % (patch.file, at[1], at[2], name))
                    patch.diff, patch.raw = shorter, None
                    shutil.rmtree(staged.root)
                    staged.write(patches, overlay)
    return wrong
