# SPDX-License-Identifier: GPL-2.0
"""A source archive as a git tree."""

import os
import subprocess
import sys
import tarfile

from .git import Git, git_env
from .problem import Problem


def tree_of_tar(gitdir):
    """Tar on stdin -> tree object; returns its id. The archive's one top directory is dropped."""
    git = Git(gitdir)
    ref = "refs/vpmu/tar-%d" % os.getpid()
    p = subprocess.Popen(["git", "-C", gitdir, "fast-import", "--quiet", "--force", "--depth=0",
                          "--date-format=raw"], stdin=subprocess.PIPE, env=git_env())
    count = 0
    try:
        w = p.stdin.write
        w(b"commit %s\ncommitter vpmu <vpmu> 0 +0000\ndata 0\n" % ref.encode())
        with tarfile.open(fileobj=sys.stdin.buffer, mode="r|") as tar:
            for member in tar:
                tar.members = []
                name = member.name[2:] if member.name.startswith("./") else member.name
                path = name.partition("/")[2]
                if member.isdir() or not path:
                    continue
                if member.isfile():
                    mode, data = (b"100755" if member.mode & 0o100 else b"100644"), tar.extractfile(member).read()
                elif member.issym():
                    mode, data = b"120000", os.fsencode(member.linkname)
                else:
                    raise Problem("the archive's %s is neither file nor link" % name)
                w(b"M %s inline %s\ndata %d\n" % (mode, os.fsencode(path), len(data)))
                w(data)
                w(b"\n")
                count += 1
        p.stdin.close()
    except tarfile.TarError as e:
        raise Problem("cannot read the archive: %s" % e) from None
    except BrokenPipeError:
        pass
    finally:
        if sys.exc_info()[0]:
            p.kill()
        p.wait()
    if p.returncode or not count:
        raise Problem("git fast-import failed" if p.returncode else "the archive is empty")
    tree = git.line("rev-parse", ref + "^{tree}")
    git.run("update-ref", "-d", ref)
    return tree
