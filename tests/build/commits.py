#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""What each commit of the series can break, and whether that is known to be good.

commits.py plan SRC BASE TIP DIR RESULTS COMMON all|some   for base..tip, number N (0000 is the base), files in DIR:
    N.affected  .c files that the commit can break: those that it touches; for each header that it touches two users;
                and each user of a name that stands in a line which it takes out of a header. A name that a header only
                gains is used by touched files alone. Names that most files use (vcpu, struct members of everyday life)
                say nothing
    N.touched   .c files that it touches
    N.sparse    those of them for sparse: all, or those that no later commit touches
    N.documented  .c and .h files that it touches
    N.kbuild    a hash of what decides which objects there are and how they are made
    N.key       under which its results are kept
  Prints a line "N COMMIT known|new SUBJECT" for each commit; known: it passed before with the same contents
commits.py read SRC OBJ DIR N OBJECT...   notes in N.read which files the compilation of these objects in OBJ read
commits.py record SRC DIR RESULTS N COMMIT   it passed: notes which contents that depended on

What a result depends on: the files that the compiler read for its objects, as kbuild notes them, those that generated
headers are made from, the makefiles and scripts, and which headers there are at all. COMMON stands for all else:
compiler, configuration, the way of testing.
"""

import hashlib
import os
import re
import subprocess
import sys

# Where the series' headers are used.
USERS = ("arch/x86/events/", "arch/x86/kernel/", "arch/x86/kvm/", "kernel/events/", "virt/kvm/")
NO_KERNEL = ("tools/", "samples/", "Documentation/")
MANY = 25
WORD = re.compile(rb"[A-Za-z_][A-Za-z0-9_]{3,}")
INCLUDE = re.compile(rb'^\s*#\s*include [<"](?:[^">]*/)?([^/">]*)[">]', re.M)
BUILD_FILES = re.compile(r"(^|/)(Kbuild[^/]*|Kconfig[^/]*|Makefile[^/]*)$")
# These and the makefiles decide how objects and generated headers are made.
BUILD_DIRS = ("scripts/", "tools/objtool/", "tools/build/", "tools/lib/", "tools/arch/x86/", "tools/include/",
              "arch/x86/tools/", "arch/x86/entry/syscalls/", "include/uapi/asm-generic/unistd.h")
# From their compilation headers are made.
GENERATORS = ("kernel/.bounds.s.cmd", "arch/x86/kernel/.asm-offsets.s.cmd", "arch/x86/kvm/.kvm-asm-offsets.s.cmd")


def git(src, *args, stdin=None):
    return subprocess.run(["git", "-C", src, "-c", "core.quotePath=false", *args], input=stdin, check=True,
                          stdout=subprocess.PIPE).stdout


class Blobs:
    """Words and included headers of files, each read once."""

    def __init__(self, src):
        self.src, self.words, self.includes = src, {}, {}

    def read(self, blobs):
        new = sorted(set(blobs) - set(self.words))
        out, at = git(self.src, "cat-file", "--batch", stdin="".join(b + "\n" for b in new).encode()), 0
        for blob in new:
            end = out.index(b"\n", at)
            size = int(out[at:end].split()[2])
            text = out[end + 1:end + 1 + size]
            at = end + 1 + size + 1
            self.words[blob] = set(WORD.findall(text))
            self.includes[blob] = set(INCLUDE.findall(text))


def removed_names(diff):
    """The names in lines that a diff takes out, but for comments."""
    names = set()
    for line in diff.split(b"\n"):
        if line.startswith(b"-") and not line.startswith(b"---"):
            names.update(WORD.findall(re.sub(rb"/\*.*|^\s*\*.*", b"", line[1:])))
    return names


def affected(blobs, tree, touched, headers, names):
    """The .c files that a commit can break; tree: {path: blob} after it."""
    found = set(touched)
    users = {path: blob for path, blob in tree.items() if path.endswith(".c") and path.startswith(USERS)}
    if not headers:
        return found
    blobs.read(users.values())
    for header in headers:
        # Private headers share their names with others elsewhere.
        shared = "/include/" in header or header.startswith("include/")
        where = USERS if shared else (os.path.dirname(header) + "/",)
        name = os.path.basename(header).encode()
        found.update(sorted(path for path, blob in users.items()
                            if path.startswith(where) and name in blobs.includes[blob])[:2])
    for name in names:
        using = [path for path, blob in users.items() if name in blobs.words[blob]]
        if len(using) <= MANY:
            found.update(using)
    return found


def sha(*parts):
    h = hashlib.sha256()
    for part in parts:
        part = part if isinstance(part, bytes) else part.encode()
        h.update(b"%d " % len(part) + part)
    return h.hexdigest()


def write(path, lines):
    with open(path, "w", encoding="utf-8") as f:
        f.writelines(line + "\n" for line in sorted(lines))


def is_build_file(path):
    return not path.startswith(("Documentation/", "tools/testing/")) and (
        path.startswith(BUILD_DIRS) or bool(BUILD_FILES.search(path)))


def known(folder, tree):
    """Is there a note whose contents are all in this tree?"""
    if not os.path.isdir(folder):
        return False
    for name in os.listdir(folder):
        with open(os.path.join(folder, name), encoding="utf-8") as f:
            if all(tree.get(path) == blob for blob, path in (line.rstrip("\n").split(" ", 1) for line in f)):
                os.utime(folder)
                return True
    return False


def plan(src, base, tip, where, results, common, how):
    os.makedirs(where, exist_ok=True)
    commits = git(src, "rev-list", "--reverse", "%s..%s" % (base, tip)).decode().split()
    changes_of, last = {}, {}
    for commit, parent in zip(commits, [base] + commits):
        fields = git(src, "diff-tree", "-r", "-z", "--no-renames", parent, commit).split(b"\0")
        changes_of[commit] = [(meta.split()[3].decode(), meta.split()[4].decode(), os.fsdecode(path))
                              for meta, path in zip(fields[0::2], fields[1::2])]
        last.update({path: commit for _, _, path in changes_of[commit]})
    tree = {}
    for entry in git(src, "ls-tree", "-r", "-z", base).split(b"\0")[:-1]:
        meta, path = entry.split(b"\t", 1)
        tree[os.fsdecode(path)] = meta.split()[2].decode()
    blobs = Blobs(src)
    build_files = {path: blob for path, blob in tree.items() if is_build_file(path)}
    headers_there = {path for path in tree if path.endswith(".h") and not path.startswith(NO_KERNEL)}
    write(os.path.join(where, "0000.kbuild"), [sha(repr(sorted(build_files.items())))])

    parent = base
    for number, commit in enumerate(commits, 1):
        touched, headers, documented = set(), set(), set()
        for blob, status, path in changes_of[commit]:
            gone = status == "D"
            for table in [tree] + [build_files] * is_build_file(path):
                if gone:
                    table.pop(path, None)
                else:
                    table[path] = blob
            if path.endswith(".h") and not path.startswith(NO_KERNEL):
                (headers_there.discard if gone else headers_there.add)(path)
                headers.add(path)
            if path.endswith((".c", ".h")) and not path.startswith("tools/") and not gone:
                documented.add(path)
            if path.endswith(".c") and not path.startswith(NO_KERNEL) and not gone:
                touched.add(path)
        names = removed_names(git(src, "diff-tree", "-r", "-p", "-U0", "--no-renames", parent, commit, "--",
                                  *headers)) if headers else set()
        files = affected(blobs, tree, touched, headers, names)
        checked = {path for path in touched if how == "all" or last[path] == commit}
        kbuild = sha(repr(sorted(build_files.items())))
        key = sha(common, how, kbuild, repr(sorted(headers_there)), repr(sorted(files)), repr(sorted(checked)),
                  repr(sorted(documented)))
        stem = os.path.join(where, "%04d" % number)
        write(stem + ".affected", files)
        write(stem + ".touched", touched)
        write(stem + ".sparse", checked)
        write(stem + ".documented", documented)
        write(stem + ".kbuild", [kbuild])
        write(stem + ".key", [key])
        subject = git(src, "log", "-1", "--format=%s", commit).decode().strip()
        print("%04d %s %s %s" % (number, commit, "known" if known(os.path.join(results, "commit-" + key), tree)
                                 else "new", subject))
        parent = commit


def prerequisites(src, obj, note):
    """The files of the source that the compiler read for an object, from kbuild's note."""
    with open(os.path.join(obj, note), encoding="utf-8") as f:
        for line in f.read().replace("\\\n", " ").split("\n"):
            m = re.match(r"(?:source|deps)_\S+ := (.*)", line)
            for name in m[1].split() if m else ():
                path = os.path.realpath(os.path.join(obj, name))
                if path.startswith(src + "/"):
                    yield path[len(src) + 1:]


def read(src, obj, where, number, *objects):
    src, obj = os.path.realpath(src), os.path.realpath(obj)
    notes = [name for name in GENERATORS if objects and os.path.exists(os.path.join(obj, name))]
    for name in objects:
        folder, file = os.path.split(name)
        notes.append(os.path.join(folder, "." + file + ".cmd"))
    write(os.path.join(where, number + ".read"), {path for note in notes for path in prerequisites(src, obj, note)})


def record(src, where, results, number, commit):
    stem = os.path.join(where, number)
    paths = set()
    for name in (".documented", ".read"):
        with open(stem + name, encoding="utf-8") as f:
            paths.update(f.read().split("\n")[:-1])
    out = git(src, "cat-file", "--batch-check=%(objectname)",
              stdin="".join("%s:%s\n" % (commit, path) for path in sorted(paths)).encode()).decode().split("\n")[:-1]
    lines = []
    for path, blob in zip(sorted(paths), out, strict=True):
        if " " in blob:
            sys.exit("commits.py: the compiler read %s, which is not in the commit" % path)
        lines.append("%s %s" % (blob, path))
    with open(stem + ".key", encoding="utf-8") as f:
        folder = os.path.join(results, "commit-" + f.read().strip())
    os.makedirs(folder, exist_ok=True)
    text = "".join(line + "\n" for line in lines)
    target = os.path.join(folder, sha(text)[:16])
    with open(target + ".tmp%d" % os.getpid(), "w", encoding="utf-8") as f:
        f.write(text)
    os.replace(target + ".tmp%d" % os.getpid(), target)


if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1] in ("-h", "--help"):
        print(__doc__)
    else:
        {"plan": plan, "read": read, "record": record}[sys.argv[1]](*sys.argv[2:])
