# SPDX-License-Identifier: GPL-2.0
"""Does anything get lost on the way, and does MAINTAINERS agree?"""

import os
import re
import tempfile

from .building import build
from .git import Git, scratch_git
from .importing import from_commits
from .layout import PatchSet
from .problem import Problem


def roundtrip(pset, gitdir, base):
    """patches -> commits -> patches gives the same files; commits -> patches -> commits the same commits.

    Returns the numbers of commits and files.
    """
    before = pset.files()
    with tempfile.TemporaryDirectory(prefix="vpmu-") as tmp:
        git = scratch_git(tmp, gitdir)
        ids = build(pset, git, base)
        tip = ids[-1] if ids else base

        # Into a copy of what is there: texts of patches are kept as in ./vpmu import.
        _, patches, overlay = from_commits(pset, git, base, tip)
        copy = PatchSet(pset.kind, os.path.join(tmp, "copy"))
        copy.write(patches, overlay)
        after = copy.files()
        for name in sorted(set(before) | set(after)):
            if before.get(name) != after.get(name):
                raise Problem("%s %s on the way through the tree" % (
                    name, "changes" if name in before and name in after else
                    "gets lost" if name in before else "appears"), "./vpmu tree && ./vpmu import && git diff")

        # Into nothing: the patches' text is made anew from the commits, the topics are those that we have.
        empty = PatchSet(pset.kind, os.path.join(tmp, "empty"))
        for patch in patches:
            if patch.raw and not patch.absent:
                patch.raw, patch.diff = None, patch.new_diff
        empty.write(patches, overlay)
        again = build(empty, git, base)
        made = [patch for patch in patches if not patch.absent]
        for patch, old, new in zip(made, ids, again, strict=True):
            if old != new:
                raise Problem("%s: its commit is another one after the way through new patches" % patch.file)
    return len(ids), len(before)


# ---- MAINTAINERS ----


def entries_of(text):
    """[(title, whole text)] of a MAINTAINERS file's entries (titles at the line's start, then tagged lines)."""
    entries = []
    for block in re.split(r"\n{2,}", text):
        lines = block.strip("\n").split("\n")
        if len(lines) > 1 and re.match(r"[A-Z0-9]", lines[0]) and all(
                re.match(r"[A-Z]:\t", line) for line in lines[1:]):
            entries.append((lines[0], "\n".join(lines)))
    return entries


def own_entries(root):
    """The entries of the checkout's MAINTAINERS."""
    try:
        with open(os.path.join(root, "MAINTAINERS"), encoding="utf-8") as f:
            ours = entries_of(f.read())
    except FileNotFoundError:
        ours = []
    if not ours:
        raise Problem("MAINTAINERS of the checkout has no entry")
    return ours


def insert_maintainers(root, file):
    """Put the checkout's entries into the kernel's file, in order."""
    ours = own_entries(root)
    with open(file, encoding="utf-8") as f:
        text = f.read()
    for title, entry in ours:
        theirs = [t for t, _ in entries_of(text[text.index("Maintainers List"):])]
        if title in theirs:
            raise Problem("%s has an entry '%s' already" % (file, title))
        # The file is sorted by title, by and large: behind the title that ours would follow.
        before = max(t for t in theirs if t < title)
        at = text.index("\n\n", text.index("\n\n" + before + "\n") + 2) + 2
        text = text[:at] + entry + "\n\n" + text[at:]
    with open(file, "w", encoding="utf-8") as f:
        f.write(text)


def check_maintainers(root, gitdir, base, tip):
    """Are the checkout's entries in the kernel's file, in order, and nothing else changed? Returns their number."""
    ours = own_entries(root)
    git = Git(gitdir)
    before = git.out("show", base + ":MAINTAINERS").decode()
    after = git.out("show", tip + ":MAINTAINERS").decode()
    rest = after
    for title, entry in ours:
        if entry + "\n\n" not in rest:
            raise Problem("the series does not insert the entry '%s' of MAINTAINERS as it is" % title,
                          "python3 scripts/patchset maintainers . --insert build/linux/MAINTAINERS, commit, "
                          "./vpmu import")
        titles = [t for t, _ in entries_of(after[after.index("Maintainers List"):])]
        i = titles.index(title)
        if i + 1 < len(titles) and titles[i + 1] != "THE REST" and titles[i + 1] < title:
            raise Problem("entry '%s' stands before '%s': not in order" % (title, titles[i + 1]))
        rest = rest.replace(entry + "\n\n", "", 1)
    names = git.out("ls-tree", "-r", "--name-only", "-z", tip).decode().split("\0")
    for title, entry in ours:
        for pattern in re.findall(r"^F:\t(.*)$", entry, re.M):
            # As get_maintainer.pl reads them: * stays within a directory, a final / means all below it.
            text = "".join("[^/]*" if c == "*" else "[^/]" if c == "?" else re.escape(c) for c in pattern)
            regex = re.compile(text + (".*" if pattern.endswith("/") else "(/.*)?") + r"\Z")
            if not any(regex.match(name) for name in names):
                raise Problem("MAINTAINERS entry '%s': no file matches F: %s" % (title, pattern))
    if rest != before:
        raise Problem("the series changes MAINTAINERS beyond inserting the checkout's entries")
    return len(ours)
