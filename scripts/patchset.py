#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Patches + overlay <-> commits of a git tree.

A patch set is a directory with a file `series` and one mail per commit. The mail holds the edits to files that exist
upstream; lines `Adds: <path>` below its `---` name the new files of the commit, which lie in the overlay, whole.
Commits made from it depend on nothing but its content and the base: author, committer and both dates come from the
mail.

Patches of the topic `older` stand in front, and make older versions of the base alike what the series is written for.
A line `Unless: <path>`, or `Unless: <path>: <text>`, below the `---` tells where one isn't needed: in a base that has
this file, or this text in it. There it is left out. It may create files itself: these are no files of the series.

Used by scripts/{tree,import,series,check} and tests/build; see `patchset.py --help`.
"""

import argparse
import email.utils
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile

# Topics in the order of the series. Overlay "." shares the checkout's root with the project's own files.
SETS = {
    "linux": {
        "patches": "patches",
        "overlay": ".",
        "topics": ["older", "cpuid", "perf", "kvm-pmu", "selftests", "docs"],
        "tree": "build/linux",
    },
    "bochs": {
        "patches": "rig/bochs-patches",
        "overlay": "rig/bochs",
        "topics": None,
        "tree": "build/bochs",
    },
}

# What stands at the checkout's root and is no kernel source. The series cannot add files there.
OWN = {".ci", ".git", ".gitattributes", ".gitignore", ".shellcheckrc", "LICENSES", "MAINTAINERS",
       "README.md", "bench", "build", "kernel.config", "kernel.debug.config", "patches", "rig", "scripts", "tests",
       "vpmu"}

SERIES_HEADER = b"""\
# Patches in the order in which they enter the tree; written by `./vpmu import`.
"""


class Problem(Exception):
    """An error that the user can do something about: what, and what to do next."""

    def __init__(self, what, todo=None, file=None, state=None):
        super().__init__(what)
        self.todo = todo
        self.file = file        # the patch that does not apply
        self.state = state      # the files that it should have applied to: {path: (mode, blob)}


def say(text):
    print(text, file=sys.stderr, flush=True)


# ---- git ----

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

    def changes(self, old, new):
        """[(status, path, new mode, new blob)] between two commits; renames are a deletion and an addition."""
        fields = self.out("diff-tree", "-r", "-z", "--no-renames", "--raw", "--no-abbrev", "--full-index",
                          old, new).split(b"\0")
        result = []
        for i in range(0, len(fields) - 1, 2):
            _, mode, _, sha, status = fields[i].decode().split()
            result.append((status[0], os.fsdecode(fields[i + 1]), mode, sha))
        return result

    def commit(self, rev):
        """(author name, email, seconds, zone, message) of a commit."""
        raw = self.out("cat-file", "commit", rev)
        head, _, message = raw.partition(b"\n\n")
        for line in head.split(b"\n"):
            m = re.fullmatch(rb"author (.*) <(.*)> (\d+) ([+-]\d{4})", line)
            if m:
                return m[1], m[2], int(m[3]), m[4], message
        raise Problem("commit %s has no author line that can be read" % rev)


# ---- patches ----

class Patch:
    """One commit: who, when, why, which edits (a diff), which new files."""

    def __init__(self):
        self.file = None        # path of the mail below the set's directory, or None
        self.raw = None         # bytes of the mail as read, or None
        self.author = self.date = self.subject = b""
        self.body = b""         # below the subject, without the empty line between them
        self.adds = []
        self.unless = None      # (path, text): not needed by a base that has this text in this file
        self.absent = False     # not needed by the base at hand
        self.diff = b""
        self.new_diff = b""     # as git gives it now, where `diff` is the text that we have

    @property
    def topic(self):
        return os.path.dirname(self.file)

    def ident(self):
        """The author's line of a commit: name, address, time."""
        when = email.utils.parsedate_tz(self.date.decode())
        if when is None:
            raise Problem("%s: cannot read the date '%s'" % (self.file, self.date.decode(errors="replace")))
        offset = when[9] or 0
        sign = "-" if offset < 0 else "+"
        offset_min = abs(offset) // 60
        return self.author + b" %d " % email.utils.mktime_tz(when) + (
            "%s%02d%02d" % (sign, offset_min // 60, offset_min % 60)).encode()

    def message(self):
        return self.subject + b"\n" + (b"\n" + self.body if self.body else b"")

    def format(self):
        out = b"From: " + self.author + b"\nDate: " + self.date + b"\nSubject: " + self.subject + b"\n\n"
        out += self.body + b"---\n"
        if self.unless:
            out += b"Unless: " + b": ".join(part for part in self.unless if part) + b"\n"
        for path in self.adds:
            out += b"Adds: " + os.fsencode(path) + b"\n"
        if (self.unless or self.adds) and self.diff:
            out += b"\n"
        return out + self.diff

    @classmethod
    def parse(cls, raw, file):
        patch = cls()
        patch.raw, patch.file = raw, file

        def bad(what):
            return Problem("%s: %s" % (file, what))

        head, sep, rest = raw.partition(b"\n\n")
        if not sep:
            raise bad("no empty line after the mail's header")
        fields = {}
        for line in re.sub(rb"\n[ \t]+", b" ", head).split(b"\n"):
            name, colon, value = line.partition(b": ")
            if not colon or name not in (b"From", b"Date", b"Subject"):
                raise bad("header line '%s': only From, Date and Subject are known"
                          % line.decode(errors="replace"))
            if name in fields:
                raise bad("%s: twice" % name.decode())
            fields[name] = value
        for name in (b"From", b"Date", b"Subject"):
            if not fields.get(name):
                raise bad("no %s:" % name.decode())
        patch.author, patch.date, patch.subject = fields[b"From"], fields[b"Date"], fields[b"Subject"]
        if not re.fullmatch(rb"[^<>\n]+ <[^<> \n]+>", patch.author):
            raise bad("From: must read 'Name <address>'")
        patch.ident()

        if rest.startswith(b"---\n"):
            below = rest[4:]
        else:
            patch.body, sep, below = rest.partition(b"\n---\n")
            if not sep:
                raise bad("no line '---' between the message and the diff")
            patch.body += b"\n"
        at = re.search(rb"^diff --git ", below, re.M)
        notes, patch.diff = (below[:at.start()], below[at.start():]) if at else (below, b"")
        for line in notes.split(b"\n"):
            if line.startswith(b"Adds: "):
                path = os.fsdecode(line[6:])
                if path in patch.adds:
                    raise bad("Adds: %s: twice" % path)
                if path != os.path.normpath(path) or path.startswith(("/", "../")):
                    raise bad("Adds: %s: not a path within the tree" % path)
                patch.adds.append(path)
            elif line.startswith(b"Unless: "):
                if patch.unless:
                    raise bad("Unless: twice")
                path, _, text = line[8:].partition(b": ")
                patch.unless = (path, text)
            elif line:
                raise bad("'%s' between --- and the diff: only 'Adds: <path>' and 'Unless: <path>: <text>' may stand "
                          "there" % line.decode(errors="replace"))
        if not patch.adds and not patch.diff:
            raise bad("changes nothing")
        if patch.diff and not patch.diff.endswith(b"\n"):
            raise bad("the last line has no end")
        return patch

    def paths(self):
        """Files that the diff touches."""
        found = set()
        for m in re.finditer(rb"^diff --git (.*)$", self.diff, re.M):
            both = m[1]
            half = (len(both) - 1) // 2
            a, b = both[:half], both[half + 1:]
            if not a.startswith(b"a/") or a[2:] != b[2:] or not b.startswith(b"b/") or b'"' in both:
                raise Problem("%s: 'diff --git %s': only changes in place are allowed (no renames)"
                              % (self.file, both.decode(errors="replace")))
            found.add(os.fsdecode(a[2:]))
        if re.search(rb"^new file mode ", self.diff, re.M) and not self.unless:
            raise Problem("%s: its diff creates a file" % self.file,
                          "put the file into the overlay and name it with 'Adds: <path>' below the ---")
        return found


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


def slug(subject):
    """The file name that git format-patch would choose."""
    text = re.sub(r"[^A-Za-z0-9._]+", "-", subject.decode(errors="replace")).strip("-")
    text = re.sub(r"\.{2,}", ".", text)
    return text[:52].rstrip(".-")


class PatchSet:
    """The patches and the overlay of one tree (linux or bochs) in one checkout."""

    def __init__(self, kind, root):
        self.kind, self.root, self.conf = kind, root, SETS[kind]
        self.dir = os.path.join(root, self.conf["patches"])
        self.overlay = os.path.normpath(os.path.join(root, self.conf["overlay"]))

    def overlay_file(self, path):
        return os.path.join(self.overlay, path)

    def own(self, path):
        """Is this path of the tree taken by the project's own files?"""
        return self.conf["overlay"] == "." and path.split("/", 1)[0] in OWN

    def series(self):
        """File names of the series; an absent series is an empty one."""
        try:
            with open(os.path.join(self.dir, "series"), "rb") as f:
                lines = f.read().decode().split("\n")
        except FileNotFoundError:
            return []
        names = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
        for name in names:
            if names.count(name) > 1:
                raise Problem("%s/series names %s twice" % (self.conf["patches"], name))
        return names

    def read(self):
        patches = []
        for name in self.series():
            try:
                with open(os.path.join(self.dir, name), "rb") as f:
                    patches.append(Patch.parse(f.read(), name))
            except FileNotFoundError:
                raise Problem("%s/series names %s, which does not exist" % (self.conf["patches"], name)) from None
        return patches

    def read_for(self, git, base):
        """The patches, with `absent` set in those that this base does not need."""
        patches = self.read()
        for patch in patches:
            if patch.unless:
                path, text = patch.unless
                blob = git.ls_tree(base, [os.fsdecode(path)]).get(os.fsdecode(path))
                patch.absent = bool(blob) and text in git.out("cat-file", "blob", blob[1])
        return patches

    def files(self):
        """{path below the root: (mode, bytes)} of everything the set consists of."""
        rel = self.conf["patches"]
        names = [(rel + "/series", False)] if os.path.exists(os.path.join(self.dir, "series")) else []
        for patch in self.read():
            names.append((rel + "/" + patch.file, False))
            names += [(os.path.relpath(self.overlay_file(path), self.root), True) for path in patch.adds]
        result = {}
        for name, executable in names:
            full = os.path.join(self.root, name)
            if not os.path.isfile(full) or os.path.islink(full):
                raise Problem("%s is missing (a patch's Adds: names it)" % name)
            with open(full, "rb") as f:
                mode = "100755" if executable and os.stat(full).st_mode & 0o100 else "100644"
                result[name] = (mode, f.read())
        return result

    def key(self):
        h = hashlib.sha256()
        for name, (mode, data) in self.files().items():
            h.update(b"%s %s %d\n" % (os.fsencode(name), mode.encode(), len(data)))
            h.update(data)
        return h.hexdigest()

    def lint(self):
        """What contradicts the rules of the layout: a list of lines."""
        wrong = []
        patches = self.read()
        rel = self.conf["patches"]
        topics = self.conf["topics"]

        listed = {}
        for patch in patches:
            for path in patch.adds:
                if path in listed:
                    wrong.append("%s: added by %s and by %s" % (path, listed[path], patch.file))
                listed[path] = patch.file
                if self.own(path):
                    wrong.append("%s: %s adds a file at a place that is the project's own" % (path, patch.file))
                if not os.path.isfile(self.overlay_file(path)):
                    wrong.append("%s: named by %s, but missing" % (path, patch.file))
        for patch in patches:
            for path in sorted(patch.paths() & set(listed)):
                wrong.append("%s: %s edits a file that the series itself adds" % (path, patch.file))

        for where, dirs, names in os.walk(self.overlay):
            rel_where = os.path.relpath(where, self.overlay)
            if rel_where == ".":
                dirs[:] = [d for d in dirs if not self.own(d)]
            for name in names:
                path = os.path.normpath(os.path.join(rel_where, name))
                if path not in listed and not self.own(path):
                    wrong.append("%s: in the overlay, but no patch's Adds: names it" % path)

        names = {patch.file for patch in patches}
        for where, _, files in os.walk(self.dir):
            for name in files:
                path = os.path.relpath(os.path.join(where, name), self.dir)
                if path not in names and path not in ("series", "cover-letter.txt"):
                    wrong.append("%s/%s: not in the series" % (rel, path))

        last = 0
        for patch in patches:
            if not topics:
                if patch.topic:
                    wrong.append("%s/%s: this series has no topics" % (rel, patch.file))
            elif patch.topic not in topics:
                wrong.append("%s/%s: unknown topic" % (rel, patch.file))
            elif bool(patch.unless) != (patch.topic == "older"):
                wrong.append("%s/%s: %s" % (
                    rel, patch.file, "'Unless:' is for the topic older alone" if patch.unless else
                    "needs a line 'Unless: <path>: <text>' below the ---, which tells what bases don't need it"))
            elif topics.index(patch.topic) < last:
                wrong.append("%s/%s: topics are to come in the order %s" % (rel, patch.file, ", ".join(topics)))
            else:
                last = topics.index(patch.topic)
        return wrong

    # ---- patches -> commits ----

    def build(self, gitdir, base, ref=None):
        """Make the commits in the repository `gitdir` on top of `base`; returns [commit id] in order.

        Works in an index that holds nothing but the files that the series touches, so that neither a work tree nor
        the size of the kernel matters. `git apply` knows no fuzz.
        """
        git = Git(gitdir)
        patches = [patch for patch in self.read_for(git, base) if not patch.absent]
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

        stdin = b"".join(os.fsencode(self.overlay_file(path)) + b"\n" for path in added)
        for path in added:
            if not os.path.isfile(self.overlay_file(path)):
                raise Problem("%s: adds %s, which is not in the overlay (%s)"
                              % (added[path], path, self.conf["overlay"]))
        blobs = dict(zip(added, git.out("hash-object", "-w", "--no-filters", "--stdin-paths",
                                        stdin=stdin).decode().split()))

        with tempfile.TemporaryDirectory(prefix="vpmu-") as tmp:
            env = {"GIT_INDEX_FILE": os.path.join(tmp, "index"), "GIT_DIR": os.path.abspath(git.line(
                "rev-parse", "--absolute-git-dir"))}
            here = Git(tmp)
            here.run("update-index", "-z", "--index-info", **env, stdin=b"".join(
                b"%s %s\t%s\0" % (mode.encode(), sha.encode(), os.fsencode(path))
                for path, (mode, sha) in state.items()))
            stream = []
            ref = ref or "refs/vpmu/tmp-%d" % os.getpid()
            for number, patch in enumerate(patches, 1):
                if patch.diff:
                    p = here.run("apply", "--cached", "-p1", "-", stdin=patch.diff, check=False, **env)
                    if p.returncode:
                        text = p.stderr.decode(errors="replace").strip()
                        raise Problem("patch %d of %d does not apply: %s/%s\n    %s" % (
                            number, len(patches), self.conf["patches"], patch.file, text.replace("\n", "\n    ")),
                            "./vpmu tree --help, \"When a patch does not apply\"", patch.file, state)
                now = {}
                for entry in here.out("ls-files", "-s", "-z", **env).split(b"\0")[:-1]:
                    meta, path = entry.split(b"\t", 1)
                    mode, sha, _ = meta.decode().split()
                    now[os.fsdecode(path)] = (mode, sha)
                changes = [b"D %s\n" % os.fsencode(path) for path in state if path not in now]
                changes += [b"M %s %s %s\n" % (mode.encode(), sha.encode(), os.fsencode(path))
                            for path, (mode, sha) in now.items() if state.get(path) != (mode, sha)]
                for path in patch.adds:
                    mode = b"100755" if os.stat(self.overlay_file(path)).st_mode & 0o100 else b"100644"
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

    # ---- commits -> patches ----

    def guess_topic(self, subject, paths):
        """The topic of a commit that has no place in the series yet, or None."""
        text = subject.decode(errors="replace")
        names = [os.path.basename(path) for path in paths]
        if text.startswith(("KVM: selftests", "selftests")):
            return "selftests"
        if text.startswith(("Documentation", "docs", "MAINTAINERS")) or all(
                path.startswith("Documentation/") or path == "MAINTAINERS" for path in paths):
            return "docs"
        if text.startswith("KVM: x86/pmu:"):
            return "kvm-pmu"
        if text.startswith("KVM"):
            caps = any(name.startswith(("cpuid", "cpu_caps", "reverse_cpuid")) for name in names)
            return "cpuid" if caps else "kvm-pmu"
        if text.startswith(("perf", "x86", "irq", "genirq")):
            return "perf"
        return None

    def from_commits(self, tree, base, head, topic=None):
        """The patch set that base..head amounts to: (patches, {overlay path: (mode, bytes)})."""
        git = Git(tree)
        if git.run("merge-base", "--is-ancestor", base, head, check=False).returncode:
            raise Problem("%s: %s is not an ancestor of %s" % (tree, base, head), "give --base")
        ids = git.line("rev-list", "--reverse", "%s..%s" % (base, head)).split()
        if git.line("rev-list", "--merges", "%s..%s" % (base, head)):
            raise Problem("%s has merges on top of its base" % tree, "git rebase %s" % base)
        old, absent = {}, []
        for number, patch in enumerate(self.read_for(git, base)):
            if patch.absent:
                absent.append((number, patch))
            else:
                old.setdefault(patch.subject, []).append(patch)
        topics = self.conf["topics"]
        if topic and topic not in (topics or []):
            raise Problem("no topic '%s'; topics are: %s" % (topic, ", ".join(topics or []) or "none"))

        patches, added, overlay = [], {}, {}
        parent, last = base, 0
        for commit in ids:
            patch = Patch()
            name, mail, seconds, zone, message = git.commit(commit)
            where = "commit %s (\"%s\")" % (commit[:12], message.split(b"\n", 1)[0].decode(errors="replace"))

            def bad(what, todo=None, where=where):
                return Problem("%s: %s" % (where, what), todo)

            patch.author = name + b" <" + mail + b">"
            if not re.fullmatch(rb"[^<>\n]+ <[^<> \n]+>", patch.author):
                raise bad("its author is not 'Name <address>'")
            minutes = int(zone[1:3]) * 60 + int(zone[3:5])
            patch.date = _date(seconds, -minutes if zone[:1] == b"-" else minutes)
            patch.subject, _, body = message.rstrip(b"\n").partition(b"\n")
            if not patch.subject.strip() or patch.subject != patch.subject.strip():
                raise bad("its subject is empty or has blanks around it")
            if patch.subject.startswith(b"["):
                raise bad("its subject begins with '[': git am would strip that")
            if re.match(rb"(fixup|squash|amend)! ", patch.subject):
                raise bad("is to be folded into another one", "git rebase -i --autosquash %s" % base[:12])
            if body and not body.startswith(b"\n"):
                raise bad("no empty line below its subject")
            patch.body = body[1:] + b"\n" if body else b""
            if message != patch.message():
                raise bad("stray empty lines around its message", "git commit --amend")
            if re.search(rb"^(---|diff -|Index: )", patch.body, re.M) or re.search(rb"[ \t]$", patch.body, re.M):
                raise bad("a line of its message begins with '---' or 'diff -', or ends in a blank: "
                          "it would not survive being mailed")

            changes = git.changes(parent, commit)
            paths = [path for _, path, _, _ in changes]
            same = old.get(patch.subject) or [None]
            before = same.pop(0)
            place = ""
            if topics:
                place = before.topic if before else topic or self.guess_topic(patch.subject, paths)
                if place is None:
                    raise bad("its subject tells no topic", "give --topic; topics are: " + ", ".join(topics))
                if not before and not topic and topics.index(place) < last:
                    say("warning: %s: looks like topic %s, but is filed under %s because it comes after commits of %s; "
                        "move it (git rebase -i %s), or give --topic"
                        % (where, place, topics[last], topics[last], base[:12]))
                    place = topics[last]
                if topics.index(place) < last:
                    say("warning: %s: topic %s comes after %s; topics are to come in the order %s"
                        % (where, place, topics[last], ", ".join(topics)))
                last = max(last, topics.index(place))
            patch.unless = before.unless if before else None

            edits = []
            for status, path, mode, sha in changes:
                if path in added:
                    raise bad("changes %s, which the series adds in commit %s: a new file enters once, whole"
                              % (path, added[path][:12]),
                              "git commit --fixup=%s, then git rebase -i --autosquash %s"
                              % (added[path][:12], base[:12]))
                if status == "A" and place != "older":
                    if git.ls_tree(base, [path]):
                        raise bad("adds %s, which the base has and the series removes" % path)
                    if self.own(path):
                        raise bad("adds %s: that place is the project's own at the checkout's root" % path)
                    if mode not in ("100644", "100755"):
                        raise bad("adds %s, which is no plain file" % path)
                    if not path.isprintable() or '"' in path or path != path.strip():
                        raise bad("adds %r: not a usable file name" % path)
                    added[path] = commit
                    patch.adds.append(path)
                    overlay[path] = (mode, git.out("cat-file", "blob", sha))
                else:
                    edits.append(path)
            if not edits and not patch.adds:
                raise bad("changes nothing")
            patch.adds.sort()
            if edits:
                patch.diff = _strip_index(git.out(
                    "diff-tree", "-p", "--no-renames", "--no-ext-diff", "--no-textconv", "--no-color",
                    "--src-prefix=a/", "--dst-prefix=b/", "-U3", "--diff-algorithm=histogram",
                    "--no-indent-heuristic", "--no-relative", parent, commit, "--", *edits))
                if re.search(rb"^(Binary files|GIT binary patch)", patch.diff, re.M):
                    raise bad("edits a binary file: cannot be mailed as text")

            patch.file = os.path.join(place, slug(patch.subject))
            # A patch that still says the same keeps its text: line numbers follow the base, reviews need not.
            # Equal in all but the text of its diff: stays as it is if that does the same to the parent.
            if (before and (before.author, before.ident(), before.body, sorted(before.adds)) ==
                    (patch.author, patch.ident(), patch.body, patch.adds) and
                    does(git, before, parent, commit, edits)):
                patch.raw, patch.new_diff, patch.diff = before.raw, patch.diff, before.diff
            patches.append(patch)
            parent = commit
        for number, patch in absent:
            patches.insert(number, patch)
            patch.file = os.path.join(patch.topic, slug(patch.subject))
        count = {}
        for patch in patches:
            place, name = os.path.split(patch.file)
            count[place] = count.get(place, 0) + 1
            patch.file = os.path.join(place, "%04d-%s.patch" % (count[place], name))
        return ids, patches, overlay

    def write(self, patches, overlay):
        """Write a whole patch set into this checkout, which has none."""
        names = []
        for patch in patches:
            _write(os.path.join(self.dir, patch.file), patch.raw or patch.format())
            names.append(patch.file)
        for path, (mode, data) in overlay.items():
            _write(self.overlay_file(path), data, mode)
        _write(os.path.join(self.dir, "series"), SERIES_HEADER + "".join(n + "\n" for n in names).encode())


def _date(seconds, minutes):
    """RFC 2822 date."""
    import datetime
    zone = datetime.timezone(datetime.timedelta(minutes=minutes))
    return email.utils.format_datetime(datetime.datetime.fromtimestamp(seconds, zone)).encode()


def _strip_index(diff):
    """Blob hashes and nothing else of the diff depend on the whole of the base's file: leave them out."""
    return re.sub(rb"^index [0-9a-f]+\.\.[0-9a-f]+( \d+)?\n", b"", diff, flags=re.M)


def _write(path, data, mode="100644"):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    tmp = "%s.tmp%d" % (path, os.getpid())
    with open(tmp, "wb") as f:
        f.write(data)
    os.chmod(tmp, 0o755 if mode == "100755" else 0o644)
    os.replace(tmp, path)


def verify(staged, tree, base, ids):
    """Do the patches written from these commits give these commits' content again? Returns those that don't."""
    git = Git(tree)
    with tempfile.TemporaryDirectory(prefix="vpmu-") as tmp:
        scratch = scratch_git(tmp, tree)
        built = staged.build(scratch, base)
        both = Git(scratch)
        names = [patch.file for patch in staged.read_for(both, base) if not patch.absent]
        return [name for name, a, b in zip(names, built, ids, strict=True)
                if both.line("rev-parse", a + "^{tree}") != git.line("rev-parse", b + "^{tree}")]


def does(git, patch, parent, commit, edits):
    """Does the patch turn the parent's files into the commit's?"""
    try:
        if patch.paths() != set(edits):
            return False
    except Problem:
        return False
    if not edits:
        return True
    before, after = git.ls_tree(parent, edits), git.ls_tree(commit, edits)
    with tempfile.TemporaryDirectory(prefix="vpmu-") as tmp:
        # The objects that this makes are nobody's business.
        env = {"GIT_INDEX_FILE": os.path.join(tmp, "index"), "GIT_DIR": scratch_git(tmp, git.where)}
        here = Git(tmp)
        here.run("update-index", "-z", "--index-info", **env, stdin=b"".join(
            b"%s %s\t%s\0" % (mode.encode(), sha.encode(), os.fsencode(path)) for path, (mode, sha) in before.items()))
        if here.run("apply", "--cached", "-p1", "-", stdin=patch.diff, check=False, **env).returncode:
            return False
        now = {}
        for entry in here.out("ls-files", "-s", "-z", **env).split(b"\0")[:-1]:
            meta, path = entry.split(b"\t", 1)
            mode, sha, _ = meta.decode().split()
            now[os.fsdecode(path)] = (mode, sha)
        return now == after


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
                    staged.build(scratch, commit)
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


def scratch_git(where, *sources):
    """A bare repository that borrows the objects of others."""
    path = os.path.join(where, "scratch.git")
    Git(where).run("init", "--quiet", "--bare", path)
    with open(os.path.join(path, "objects/info/alternates"), "w", encoding="utf-8") as f:
        for source in sources:
            objects = Git(source).line("rev-parse", "--git-path", "objects")
            f.write(os.path.realpath(os.path.join(source, objects)) + "\n")
    return path


def state_of(path):
    try:
        with open(path, encoding="utf-8") as f:
            return json.load(f)
    except (FileNotFoundError, ValueError):
        return {}


def digest(mode, data):
    return hashlib.sha256(mode.encode() + b"\n" + data).hexdigest()


def remember(pset, state_file):
    """Note which content of the checkout the tree corresponds to."""
    state = {name: digest(mode, data) for name, (mode, data) in pset.files().items()}
    _write(state_file, (json.dumps(state, indent=1, sort_keys=True) + "\n").encode())


def install(pset, staged, state_file, force):
    """Make the checkout's patch set equal to the staged one. Returns (written, removed)."""
    try:
        old = pset.files()
    except Problem:
        # A set that contradicts itself is replaced; what it names goes only if it is there.
        old = {}
    new = staged.files()
    changed = {name for name in new if old.get(name) != new[name]}
    for name in list(changed):
        full = os.path.join(pset.root, name)
        if os.path.isfile(full) and name not in old:
            mode = "100755" if os.stat(full).st_mode & 0o100 else "100644"
            with open(full, "rb") as f:
                old[name] = (mode, f.read())
            if old[name] == new[name]:
                changed.discard(name)
    removed = {name for name in old if name not in new}

    # What would be lost: content that git has not, and that no ./vpmu tree read and no ./vpmu import wrote.
    known = state_of(state_file)
    at_risk = []
    for name in sorted(changed | removed):
        if name not in old or known.get(name) == digest(*old[name]):
            continue
        git = Git(pset.root)
        if git.rev("HEAD:" + name):
            p = git.run("diff", "--quiet", "HEAD", "--", name, check=False)
            if p.returncode == 0:
                continue
        at_risk.append(name)
    if at_risk and not force:
        raise Problem("these files have changes that are not committed and not in the tree:\n    "
                      + "\n    ".join(at_risk),
                      "commit them, or put them into the tree; or ./vpmu import --force to overwrite them")

    order = sorted(changed, key=lambda name: (name.endswith("/series"), name))
    for name in order:
        mode, data = new[name]
        _write(os.path.join(pset.root, name), data, mode)
    for name in sorted(removed):
        full = os.path.join(pset.root, name)
        if os.path.exists(full):
            os.unlink(full)
        parent = os.path.dirname(full)
        while parent != pset.root and not os.listdir(parent):
            os.rmdir(parent)
            parent = os.path.dirname(parent)
    return sorted(changed), sorted(removed)


# ---- commands ----

def cmd_tar(args):
    """Tar on stdin -> tree object; prints its id. The archive's one top directory is dropped."""
    git = Git(args.gitdir)
    ref = "refs/vpmu/tar-%d" % os.getpid()
    p = subprocess.Popen(["git", "-C", args.gitdir, "fast-import", "--quiet", "--force", "--depth=0",
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
    print(git.line("rev-parse", ref + "^{tree}"))
    git.run("update-ref", "-d", ref)


def cmd_key(args):
    print(PatchSet(args.set, args.root).key())


def cmd_lint(args):
    wrong = PatchSet(args.set, args.root).lint()
    for line in wrong:
        print(line)
    if wrong:
        sys.exit(1)


def cmd_build(args):
    pset = PatchSet(args.set, args.root)
    commits = pset.build(args.gitdir, args.base, args.ref)
    if args.state:
        remember(pset, args.state)
    made = [patch for patch in pset.read_for(Git(args.gitdir), args.base) if not patch.absent]
    for commit, patch in zip(commits, made, strict=True):
        print("%s %s" % (commit, patch.file))


def cmd_import(args):
    pset = PatchSet(args.set, args.root)
    tree = args.tree
    git = Git(tree)
    if not os.path.isdir(tree) or git.run("rev-parse", "--git-dir", check=False).returncode:
        raise Problem("%s is no git tree" % tree, "./vpmu tree builds one")
    base = git.rev(args.base + "^{commit}")
    if not base:
        raise Problem("%s has no revision '%s'" % (tree, args.base), "name the pristine commit with --base")
    head = git.rev(args.head + "^{commit}")
    if not head:
        raise Problem("%s has no revision '%s'" % (tree, args.head))
    if args.head == "HEAD" and git.line("rev-parse", "--is-inside-work-tree") == "true":
        dirty = git.out("status", "--porcelain", "--untracked-files=normal").decode(errors="replace").split("\n")[:-1]
        edited = [line[3:] for line in dirty if not line.startswith("??")]
        stray = [line[3:] for line in dirty if line.startswith("??")]
        if edited and not args.committed:
            raise Problem("%s has changes that are not committed:\n    %s" % (tree, "\n    ".join(edited[:10])),
                          "commit them (git commit --fixup=..., git rebase -i --autosquash %s), or give --committed "
                          "to leave them out" % args.base)
        if stray:
            say("warning: files that git does not know are left out: %s%s"
                % (", ".join(stray[:5]), ", ..." if len(stray) > 5 else ""))
    if git.rev(args.base + "^{tree}") is None:
        raise Problem("%s: the objects of its base are missing" % tree, "./vpmu tree")

    ids, patches, overlay = pset.from_commits(tree, base, head, args.topic)
    with tempfile.TemporaryDirectory(prefix="vpmu-") as tmp:
        staged = PatchSet(args.set, os.path.join(tmp, "new"))
        staged.write(patches, overlay)
        try:
            bad = verify(staged, tree, base, ids)
        except Problem:
            bad = [patch.file for patch in patches]
        if bad:
            # A kept text can be wrong where equal lines stand in several places: take git's.
            for patch in patches:
                if patch.raw and not patch.absent:
                    patch.raw, patch.diff = None, patch.new_diff
            shutil.rmtree(staged.root)
            staged.write(patches, overlay)
            bad = verify(staged, tree, base, ids)
        if bad:
            raise Problem("%s does not survive the way through patches" % bad[0],
                          "this is a fault of patchset.py: please report it with the tree")
        wrong = []
        if args.fit:
            wrong = fit(staged, patches, overlay, args.fit, tree)
            if verify(staged, tree, base, ids):
                raise Problem("with less context the patches give another tree")
        written, removed = install(pset, staged, args.state, args.force)
    if args.state:
        remember(pset, args.state)
    for name in written:
        say("  wrote   " + name)
    for name in removed:
        say("  removed " + name)
    for line in wrong:
        say("warning: " + line)
    say("%d commits, %d new files; %s" % (len(ids), len(overlay), (
        "%d files written, %d removed" % (len(written), len(removed))) if written or removed else
        "the checkout has them already"))


def cmd_roundtrip(args):
    """patches -> commits -> patches gives the same files; commits -> patches -> commits the same commits."""
    pset = PatchSet(args.set, args.root)
    before = pset.files()
    with tempfile.TemporaryDirectory(prefix="vpmu-") as tmp:
        git = scratch_git(tmp, args.gitdir)
        ids = pset.build(git, args.base)
        tip = ids[-1] if ids else args.base

        # Into a copy of what is there: texts of patches are kept as in ./vpmu import.
        _, patches, overlay = pset.from_commits(git, args.base, tip)
        copy = PatchSet(args.set, os.path.join(tmp, "copy"))
        copy.write(patches, overlay)
        after = copy.files()
        for name in sorted(set(before) | set(after)):
            if before.get(name) != after.get(name):
                raise Problem("%s %s on the way through the tree" % (
                    name, "changes" if name in before and name in after else
                    "gets lost" if name in before else "appears"), "./vpmu tree && ./vpmu import && git diff")

        # Into nothing: the patches' text is made anew from the commits, the topics are those that we have.
        empty = PatchSet(args.set, os.path.join(tmp, "empty"))
        for patch in patches:
            if patch.raw and not patch.absent:
                patch.raw, patch.diff = None, patch.new_diff
        empty.write(patches, overlay)
        again = empty.build(git, args.base)
        made = [patch for patch in patches if not patch.absent]
        for patch, old, new in zip(made, ids, again, strict=True):
            if old != new:
                raise Problem("%s: its commit is another one after the way through new patches" % patch.file)
    print("%d patches, %d files" % (len(ids), len(before)))


def cmd_mails(args):
    """The commits as complete patches with a cover letter."""
    git = Git(args.gitdir)
    span = "%s..%s" % (args.base, args.tip)
    count = int(git.line("rev-list", "--count", span))
    if not count:
        raise Problem("the series is empty")
    prefix = "PATCH " + args.prefix if args.prefix else "PATCH"
    git.run("format-patch", "--quiet", "-o", args.out, "--numbered", "--full-index", "--zero-commit", "--no-renames",
            "--no-signature", "--no-base", "--subject-prefix=" + prefix, span)
    # The edits as in our patches, whose context may be shorter.
    commits = git.line("rev-list", "--reverse", span).split()
    names = sorted(os.listdir(args.out))
    made = [patch for patch in PatchSet("linux", args.root).read_for(git, args.base) if not patch.absent]
    for patch, commit, name in zip(made, commits, names, strict=True):
        with open(os.path.join(args.out, name), "rb") as f:
            text = f.read()
        new = git.out("diff-tree", "-p", "--full-index", "--no-renames", commit + "^", commit, "--",
                      *patch.adds) if patch.adds else b""
        with open(os.path.join(args.out, name), "wb") as f:
            f.write(text[:re.search(rb"^diff --git ", text, re.M).start()] + patch.diff + new)
    try:
        with open(args.cover, encoding="utf-8") as f:
            text = f.read()
    except FileNotFoundError:
        raise Problem("%s is missing: the cover letter's subject, an empty line, its text" % args.cover) from None
    subject, _, body = text.strip("\n").partition("\n\n")
    if "\n" in subject or not body:
        raise Problem("%s: expected a subject, an empty line, a text" % args.cover)
    who = git.line("log", "-1", "--format=%an <%ae>", args.tip)
    when = git.line("log", "-1", "--format=%aD", args.tip)
    shortlog = git.out("shortlog", "-w72,2,4", span).decode()
    stat = git.out("diff-tree", "--no-renames", "--stat=78,50", "--summary", args.base, args.tip).decode()
    digits = len(str(count))
    with open(os.path.join(args.out, "0000-cover-letter.txt"), "w", encoding="utf-8") as f:
        f.write("From %s Mon Sep 17 00:00:00 2001\nFrom: %s\nDate: %s\nSubject: [%s %0*d/%d] %s\n\n%s\n\n%s\n%s"
                % ("0" * 40, who, when, prefix, digits, 0, count, subject, body, shortlog.rstrip("\n") + "\n", stat))
    print(count)


def maintainers_entries(text):
    """[(title, whole text)] of a MAINTAINERS file's entries (titles at the line's start, then tagged lines)."""
    entries = []
    for block in re.split(r"\n{2,}", text):
        lines = block.strip("\n").split("\n")
        if len(lines) > 1 and re.match(r"[A-Z0-9]", lines[0]) and all(
                re.match(r"[A-Z]:\t", line) for line in lines[1:]):
            entries.append((lines[0], "\n".join(lines)))
    return entries


def cmd_maintainers(args):
    """Are the checkout's entries in the kernel's file, in order, and nothing else changed? --insert puts them in."""
    try:
        with open(os.path.join(args.root, "MAINTAINERS"), encoding="utf-8") as f:
            ours = maintainers_entries(f.read())
    except FileNotFoundError:
        ours = []
    if not ours:
        raise Problem("MAINTAINERS of the checkout has no entry")
    if args.insert:
        with open(args.insert, encoding="utf-8") as f:
            text = f.read()
        for title, entry in ours:
            theirs = [t for t, _ in maintainers_entries(text[text.index("Maintainers List"):])]
            if title in theirs:
                raise Problem("%s has an entry '%s' already" % (args.insert, title))
            # The file is sorted by title, by and large: behind the title that ours would follow.
            before = max(t for t in theirs if t < title)
            at = text.index("\n\n", text.index("\n\n" + before + "\n") + 2) + 2
            text = text[:at] + entry + "\n\n" + text[at:]
        with open(args.insert, "w", encoding="utf-8") as f:
            f.write(text)
        return
    git = Git(args.gitdir)
    before = git.out("show", args.base + ":MAINTAINERS").decode()
    after = git.out("show", args.tip + ":MAINTAINERS").decode()
    rest = after
    for title, entry in ours:
        if entry + "\n\n" not in rest:
            raise Problem("the series does not insert the entry '%s' of MAINTAINERS as it is" % title,
                          "scripts/patchset.py maintainers --insert build/linux/MAINTAINERS, commit, ./vpmu import")
        titles = [t for t, _ in maintainers_entries(after[after.index("Maintainers List"):])]
        i = titles.index(title)
        if i + 1 < len(titles) and titles[i + 1] != "THE REST" and titles[i + 1] < title:
            raise Problem("entry '%s' stands before '%s': not in order" % (title, titles[i + 1]))
        rest = rest.replace(entry + "\n\n", "", 1)
    names = git.out("ls-tree", "-r", "--name-only", "-z", args.tip).decode().split("\0")
    for title, entry in ours:
        for pattern in re.findall(r"^F:\t(.*)$", entry, re.M):
            # As get_maintainer.pl reads them: * stays within a directory, a final / means all below it.
            text = "".join("[^/]*" if c == "*" else "[^/]" if c == "?" else re.escape(c) for c in pattern)
            regex = re.compile(text + (".*" if pattern.endswith("/") else "(/.*)?") + r"\Z")
            if not any(regex.match(name) for name in names):
                raise Problem("MAINTAINERS entry '%s': no file matches F: %s" % (title, pattern))
    if rest != before:
        raise Problem("the series changes MAINTAINERS beyond inserting the checkout's entries")
    print("%d entries" % len(ours))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    sub = parser.add_subparsers(dest="command", required=True)

    def command(name, func, *params, **kw):
        p = sub.add_parser(name, help=kw.get("help"))
        for param in params:
            p.add_argument(param)
        p.set_defaults(func=func)
        return p

    command("tar", cmd_tar, "gitdir", help="tar on stdin to a tree object")
    for name, func, text in (("key", cmd_key, "content key of a patch set"),
                             ("lint", cmd_lint, "check the rules of the layout")):
        p = command(name, func, help=text)
        p.add_argument("set", choices=SETS)
        p.add_argument("root")
    p = command("build", cmd_build, help="make the commits")
    p.add_argument("set", choices=SETS)
    p.add_argument("root")
    p.add_argument("gitdir")
    p.add_argument("base")
    p.add_argument("--ref")
    p.add_argument("--state")
    p = command("import", cmd_import, help="write commits back into the checkout")
    p.add_argument("set", choices=SETS)
    p.add_argument("root")
    p.add_argument("tree")
    p.add_argument("--base", default="base")
    p.add_argument("--head", default="HEAD")
    p.add_argument("--topic")
    p.add_argument("--state", default="")
    p.add_argument("--force", action="store_true")
    p.add_argument("--committed", action="store_true")
    p.add_argument("--fit", metavar="STORE", default="")
    p = command("roundtrip", cmd_roundtrip, help="check that both directions lose nothing")
    p.add_argument("set", choices=SETS)
    p.add_argument("root")
    p.add_argument("gitdir")
    p.add_argument("base")
    p = command("mails", cmd_mails, "root", "gitdir", "base", "tip", "out", "cover", help="write complete mails")
    p.add_argument("--prefix", default="")
    p = command("maintainers", cmd_maintainers, "root", help="check or insert our MAINTAINERS entries")
    p.add_argument("gitdir", nargs="?")
    p.add_argument("base", nargs="?")
    p.add_argument("tip", nargs="?")
    p.add_argument("--insert", metavar="FILE")

    args = parser.parse_args()
    try:
        args.func(args)
    except Problem as e:
        say("error: %s" % e)
        if e.todo:
            say("  next: %s" % e.todo)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
