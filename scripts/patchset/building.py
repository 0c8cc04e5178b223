# SPDX-License-Identifier: GPL-2.0
"""Patches -> commits."""

import os
import tempfile

from .git import Git, Index
from .problem import Problem


def build(pset, gitdir, base, ref=None):
    """Make the commits in the repository `gitdir` on top of `base`; returns [commit id] in order."""
    git = Git(gitdir)
    patches = [patch for patch in pset.read_for(git, base) if not patch.absent]
    touched, added = set(), {}
    for patch in patches:
        touched |= patch.paths()
        for path in patch.adds:
            if path in added:
                raise Problem("%s: adds %s, as %s does" % (patch.file, path, added[path]))
            added[path] = patch.file
    state = git.ls_tree(base, touched | set(added))
    for path, name in added.items():
        if path in state:
            raise Problem("%s: adds %s, which exists in the base" % (name, path))
        if path in touched:
            raise Problem("%s: adds %s, which another patch edits" % (name, path),
                          "a new file enters the series once, whole")
        if not os.path.isfile(pset.overlay_file(path)):
            raise Problem("%s: adds %s, which is not in the overlay (%s)" % (name, path, pset.conf["overlay"]))
    blobs = dict(zip(added, git.out("hash-object", "-w", "--no-filters", "--stdin-paths", stdin=b"".join(
        os.fsencode(os.path.abspath(pset.overlay_file(path))) + b"\n" for path in added)).decode().split()))

    with tempfile.TemporaryDirectory(prefix="vpmu-") as tmp:
        index = Index(tmp, gitdir, state)
        stream = []
        ref = ref or "refs/vpmu/tmp-%d" % os.getpid()
        for number, patch in enumerate(patches, 1):
            if patch.diff:
                text = index.apply(patch.diff)
                if text:
                    raise Problem("patch %d of %d does not apply: %s/%s\n    %s" % (
                        number, len(patches), pset.conf["patches"], patch.file, text.replace("\n", "\n    ")),
                        "./vpmu tree --help, \"When a patch does not apply\"", patch.file, state)
            now = index.state() if patch.diff else state
            changes = [b"D %s\n" % os.fsencode(path) for path in state if path not in now]
            changes += [b"M %s %s %s\n" % (mode.encode(), sha.encode(), os.fsencode(path))
                        for path, (mode, sha) in now.items() if state.get(path) != (mode, sha)]
            for path in patch.adds:
                mode = b"100755" if os.stat(pset.overlay_file(path)).st_mode & 0o100 else b"100644"
                changes.append(b"M %s %s %s\n" % (mode, blobs[path].encode(), os.fsencode(path)))
            if not changes:
                raise Problem("%s: changes nothing" % patch.file)
            state = now
            ident, message = patch.ident(), patch.message()
            stream.append(b"commit %s\nmark :%d\nauthor %s\ncommitter %s\ndata %d\n%s\n" % (
                ref.encode(), number, ident, ident, len(message), message))
            if number == 1:
                stream.append(b"from %s\n" % base.encode())
            stream += changes
        marks = os.path.join(tmp, "marks")
        git.run("fast-import", "--quiet", "--force", "--date-format=raw", "--export-marks=" + marks,
                stdin=b"".join(stream))
        commits = []
        if patches:
            with open(marks, encoding="ascii") as f:
                by_mark = dict(line.split() for line in f)
            commits = [by_mark[":%d" % n] for n in range(1, len(patches) + 1)]
        if ref.startswith("refs/vpmu/tmp-"):
            git.run("update-ref", "-d", ref, check=False)
        elif not patches:
            git.run("update-ref", ref, base)
    return commits
