# SPDX-License-Identifier: GPL-2.0
"""Running git."""

import os
import subprocess

from .problem import Problem


def git_env(**extra):
    """The user's git settings must change neither commits nor patches."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    config = {
        "safe.directory": "*",
        "core.quotePath": "false",
        "core.autocrlf": "false",
        "core.compression": "1",
        "gc.auto": "0",
        "apply.whitespace": "nowarn",
        "fastimport.unpackLimit": "1000",
    }
    env.update(GIT_CONFIG_GLOBAL=os.devnull, GIT_CONFIG_SYSTEM=os.devnull, GIT_LITERAL_PATHSPECS="1",
               GIT_CONFIG_COUNT=str(len(config)), LC_ALL="C.UTF-8", TZ="UTC")
    for i, (key, value) in enumerate(config.items()):
        env["GIT_CONFIG_KEY_%d" % i] = key
        env["GIT_CONFIG_VALUE_%d" % i] = value
    env.update(extra)
    return env


class Git:
    """git in one repository (a bare directory, or a work tree)."""

    def __init__(self, where):
        self.where = where

    def run(self, *args, stdin=None, check=True, **env):
        p = subprocess.run(["git", "-C", self.where, *args], input=stdin, env=git_env(**env),
                           stdin=subprocess.DEVNULL if stdin is None else None,
                           stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        if check and p.returncode:
            raise Problem("git %s in %s: %s" % (args[0], self.where,
                                                p.stderr.decode(errors="replace").strip() or "failed"))
        return p

    def out(self, *args, **kw):
        return self.run(*args, **kw).stdout

    def line(self, *args, **kw):
        return self.out(*args, **kw).decode().strip()

    def rev(self, name):
        p = self.run("rev-parse", "--verify", "--quiet", "--end-of-options", name, check=False)
        return p.stdout.decode().strip() if p.returncode == 0 else None

    def ls_tree(self, rev, paths):
        """{path: (mode, blob)} of those of the paths that exist in rev."""
        found = {}
        paths = sorted(paths)
        for i in range(0, len(paths), 500):
            out = self.out("ls-tree", "-z", "--full-tree", rev, "--", *paths[i:i + 500])
            for entry in out.split(b"\0")[:-1]:
                meta, path = entry.split(b"\t", 1)
                mode, _, sha = meta.decode().split()
                found[os.fsdecode(path)] = (mode, sha)
        return found

    def trees(self, commits):
        """The tree of each of these commits."""
        if not commits:
            return []
        return self.out("rev-parse", *(commit + "^{tree}" for commit in commits)).decode().split()

    def blobs(self, names):
        """The content of each of these blobs."""
        out = self.out("cat-file", "--batch", stdin=b"".join(name.encode() + b"\n" for name in names))
        found, at = [], 0
        for _ in names:
            end = out.index(b"\n", at)
            size = int(out[at:end].split()[2])
            found.append(out[end + 1:end + 1 + size])
            at = end + 1 + size + 1
        return found


class Index:
    """An index in `where` that holds nothing but a few files: neither a work tree nor the size of the kernel matters.

    state: {path: (mode, blob)}
    """

    def __init__(self, where, gitdir, state):
        self.git = Git(where)
        self.env = {"GIT_INDEX_FILE": os.path.join(where, "index"),
                    "GIT_DIR": os.path.abspath(Git(gitdir).line("rev-parse", "--absolute-git-dir"))}
        self.git.run("update-index", "-z", "--index-info", **self.env, stdin=b"".join(
            b"%s %s\t%s\0" % (mode.encode(), sha.encode(), os.fsencode(path)) for path, (mode, sha) in state.items()))

    def apply(self, diff):
        """What git apply, which knows no fuzz, has to complain about; '' if the diff fits."""
        p = self.git.run("apply", "--cached", "-p1", "-", stdin=diff, check=False, **self.env)
        return "" if p.returncode == 0 else p.stderr.decode(errors="replace").strip() or "git apply failed"

    def state(self):
        now = {}
        for entry in self.git.out("ls-files", "-s", "-z", **self.env).split(b"\0")[:-1]:
            meta, path = entry.split(b"\t", 1)
            mode, sha, _ = meta.decode().split()
            now[os.fsdecode(path)] = (mode, sha)
        return now


def scratch_git(where, *sources):
    """A bare repository that borrows the objects of others."""
    path = os.path.join(where, "scratch.git")
    Git(where).run("init", "--quiet", "--bare", path)
    with open(os.path.join(path, "objects/info/alternates"), "w", encoding="utf-8") as f:
        for source in sources:
            objects = Git(source).line("rev-parse", "--git-path", "objects")
            f.write(os.path.realpath(os.path.join(source, objects)) + "\n")
    return path
