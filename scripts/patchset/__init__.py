# SPDX-License-Identifier: GPL-2.0
"""Patches + overlay <-> commits of a git tree.

A patch set is a directory with a file `series` and one mail per commit. The mail holds the edits to files that exist
upstream; lines `Adds: <path>` below its `---` name the new files of the commit, which lie in the overlay, whole.
Commits made from it depend on nothing but its content and the base: author, committer and both dates come from the
mail.

Patches of the topic `older` stand in front, and make older versions of the base alike what the series is written for.
A line `Unless: <path>`, or `Unless: <path>: <text>`, below the `---` tells where one isn't needed: in a base that has
this file, or this text in it. There it is left out. It may create files itself: these are no files of the series.

    problem.py    errors that the user can do something about
    git.py        running git: with its own settings, in a scratch repository, in an index of a few files
    mail.py       one patch: the mail, and the changes of its diff
    layout.py     the files of a patch set in a checkout, and the rules for them
    building.py   patches -> commits: ./vpmu tree
    importing.py  commits -> patches: ./vpmu import
    fitting.py    less context, where that makes a patch apply to every version of the base: ./vpmu import --fit
    sending.py    the series as complete mails: ./vpmu series
    checks.py     round trip, MAINTAINERS: ./vpmu check
    archive.py    a source archive as a git tree

Applying is git apply's work (building.py), telling what a commit changes git diff-tree's (importing.py), writing mails
git format-patch's (sending.py); that git am reads them as ./vpmu tree does is one of the checks of ./vpmu check.

Used by scripts/{tree,import,series,check} and tests/build; see `python3 scripts/patchset --help`.
"""
