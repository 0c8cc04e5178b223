# SPDX-License-Identifier: GPL-2.0
"""The series as complete mails."""

import os
import re

from .git import Git
from .layout import PatchSet
from .problem import Problem


def write_mails(root, gitdir, base, tip, out, cover, prefix):
    """The commits as complete patches with a cover letter; returns their number.

    The cover letter is ours: that of git format-patch has the time of its making in it.
    """
    git = Git(gitdir)
    span = "%s..%s" % (base, tip)
    count = int(git.line("rev-list", "--count", span))
    if not count:
        raise Problem("the series is empty")
    prefix = "PATCH " + prefix if prefix else "PATCH"
    git.run("format-patch", "--quiet", "-o", out, "--numbered", "--full-index", "--zero-commit", "--no-renames",
            "--no-signature", "--no-base", "--subject-prefix=" + prefix, span)
    # The edits as in our patches, whose context may be shorter.
    commits = git.line("rev-list", "--reverse", span).split()
    names = sorted(os.listdir(out))
    made = [patch for patch in PatchSet("linux", root).read_for(git, base) if not patch.absent]
    for patch, commit, name in zip(made, commits, names, strict=True):
        with open(os.path.join(out, name), "rb") as f:
            text = f.read()
        new = git.out("diff-tree", "-p", "--full-index", "--no-renames", commit + "^", commit, "--",
                      *patch.adds) if patch.adds else b""
        with open(os.path.join(out, name), "wb") as f:
            f.write(text[:re.search(rb"^diff --git ", text, re.M).start()] + patch.diff + new)
    try:
        with open(cover, encoding="utf-8") as f:
            text = f.read()
    except FileNotFoundError:
        raise Problem("%s is missing: the cover letter's subject, an empty line, its text" % cover) from None
    subject, _, body = text.strip("\n").partition("\n\n")
    if "\n" in subject or not body:
        raise Problem("%s: expected a subject, an empty line, a text" % cover)
    who = git.line("log", "-1", "--format=%an <%ae>", tip)
    when = git.line("log", "-1", "--format=%aD", tip)
    shortlog = git.out("shortlog", "-w72,2,4", span).decode()
    stat = git.out("diff-tree", "--no-renames", "--stat=78,50", "--summary", base, tip).decode()
    digits = len(str(count))
    with open(os.path.join(out, "0000-cover-letter.txt"), "w", encoding="utf-8") as f:
        f.write("From %s Mon Sep 17 00:00:00 2001\nFrom: %s\nDate: %s\nSubject: [%s %0*d/%d] %s\n\n%s\n\n%s\n%s"
                % ("0" * 40, who, when, prefix, digits, 0, count, subject, body, shortlog.rstrip("\n") + "\n", stat))
    return count
