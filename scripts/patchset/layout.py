# SPDX-License-Identifier: GPL-2.0
"""The files of a patch set in a checkout, and the rules for them."""

import hashlib
import os

from .mail import Patch
from .problem import Problem

# Topics in the order of the series. Overlay "." shares the checkout's root with the project's own files.
SETS = {
    "linux": {
        "patches": "patches",
        "overlay": ".",
        "topics": ["older", "fixes", "cpuid", "perf", "kvm-pmu", "selftests", "docs"],
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
       "README.md", "bench", "build", "kernel.config", "kernel.debug.config", "packaging", "patches", "rig", "scripts",
       "tests", "vpmu"}

SERIES_HEADER = b"""\
# Patches in the order in which they enter the tree; written by `./vpmu import`.
"""


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

    def write(self, patches, overlay):
        """Write a whole patch set into this checkout, which has none."""
        names = []
        for patch in patches:
            write_file(os.path.join(self.dir, patch.file), patch.raw or patch.format())
            names.append(patch.file)
        for path, (mode, data) in overlay.items():
            write_file(self.overlay_file(path), data, mode)
        write_file(os.path.join(self.dir, "series"), SERIES_HEADER + "".join(n + "\n" for n in names).encode())


def write_file(path, data, mode="100644"):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    tmp = "%s.tmp%d" % (path, os.getpid())
    with open(tmp, "wb") as f:
        f.write(data)
    os.chmod(tmp, 0o755 if mode == "100755" else 0o644)
    os.replace(tmp, path)
