# SPDX-License-Identifier: GPL-2.0
"""Commits -> patches."""

import bisect
import hashlib
import json
import os
import re
import tempfile

from .building import build
from .git import Git, Index, scratch_git
from .layout import write_file
from .mail import Patch
from .problem import Problem, say


class Commit:
    """What git says about a commit."""

    def __init__(self, name, author, date, message, diff):
        self.name, self.author, self.date, self.message = name, author, date, message
        self.subject = message.split(b"\n", 1)[0]
        raw, _, rest = diff.lstrip(b"\n").partition(b"\n\n")
        self.changes = []       # (status, path, mode, blob); a renaming is a deletion and an addition
        for line in raw.splitlines():
            meta, path = line.split(b"\t", 1)
            _, mode, _, sha, status = meta.decode().split()
            self.changes.append((status[0], os.fsdecode(path), mode, sha))
        self.diffs = [part for part in re.split(rb"^(?=diff --git )", rest, flags=re.M) if part]

    def diff_without(self, paths):
        """The diff but for these files, without hashes: they depend on the whole of the base's file."""
        heads = tuple(b"diff --git a/%s b/" % os.fsencode(path) for path in paths)
        text = b"".join(part for part in self.diffs if not (heads and part.startswith(heads)))
        return re.sub(rb"^index [0-9a-f]+\.\.[0-9a-f]+( \d+)?\n", b"", text, flags=re.M)


def read_commits(git, span):
    """[Commit] of a range, oldest first."""
    ids = git.out("rev-list", "--reverse", span)
    if not ids:
        return []
    out = git.out(
        "diff-tree", "--stdin", "-r", "--raw", "-p", "--no-abbrev", "--no-renames", "--no-ext-diff", "--no-textconv",
        "--no-color", "--src-prefix=a/", "--dst-prefix=b/", "-U3", "--diff-algorithm=histogram",
        "--no-indent-heuristic", "--no-relative", "--date=format:%a, %d %b %Y %H:%M:%S %z",
        "--format=%x00%H%x00%an <%ae>%x00%ad%x00%B%x00", stdin=ids)
    fields = out.split(b"\0")[1:]
    if len(fields) % 5:
        raise Problem("%s: a commit changes a file with zero bytes: cannot be mailed as text" % git.where)
    return [Commit(name.decode(), *rest) for name, *rest in zip(*(iter(fields),) * 5)]


# ---- topics ----

def guess_topic(subject, paths):
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


def in_order(numbers):
    """Indices of a longest run (with gaps) of numbers that do not fall; None among them is left out."""
    ends, at, before = [], [], {}
    for i, number in enumerate(numbers):
        if number is None:
            continue
        k = bisect.bisect_right(ends, number)
        before[i] = at[k - 1] if k else None
        ends[k:k + 1], at[k:k + 1] = [number], [i]
    found, i = set(), at[-1] if at else None
    while i is not None:
        found.add(i)
        i = before[i]
    return found


def file_topics(commits, known, topics, asked):
    """The topic of each commit. known: those of commits that the series has, or None.

    A commit of the series keeps its topic unless it was moved to another one's place. One that stands where two topics
    meet, and is of neither, is filed under `fixes` if that lies between, or else under the one before it.
    """
    ranks = [topics.index(topic) if topic else None for topic in known]
    stay = in_order(ranks)
    fixes = topics.index("fixes") if "fixes" in topics else -1
    notes = []
    high = len(topics) - 1
    for i in reversed(range(len(commits))):
        if i not in stay:
            commit = commits[i]
            where = "commit %s (\"%s\")" % (commit.name[:12], commit.subject.decode(errors="replace"))
            low = next((ranks[k] for k in reversed(range(i)) if k in stay), 0)
            wanted = known[i] or asked or guess_topic(commit.subject, [path for _, path, _, _ in commit.changes])
            if not asked and low <= fixes <= high and re.search(rb"^Fixes: ", commit.message, re.M):
                wanted = "fixes"
            if wanted is None and low < high:
                raise Problem("%s: its subject tells no topic" % where,
                              "give --topic; topics are: " + ", ".join(topics))
            ranks[i] = topics.index(wanted) if wanted else low
            if not low <= ranks[i] <= high:
                ranks[i] = fixes if low <= fixes <= high else low
                notes.append("note: %s looks like topic %s, but is filed under %s, where it stands"
                             % (where, wanted, topics[ranks[i]]))
        high = ranks[i]
    for note in reversed(notes):
        say(note)
    return [topics[rank] for rank in ranks]


# ---- commits -> patches ----

def check_message(commit, patch, bad):
    """Does it survive being mailed?"""
    if not re.fullmatch(rb"[^<>\n]+ <[^<> \n]+>", patch.author):
        raise bad("its author is not 'Name <address>'")
    if not patch.subject.strip() or patch.subject != patch.subject.strip():
        raise bad("its subject is empty or has blanks around it")
    if patch.subject.startswith(b"["):
        raise bad("its subject begins with '[': git am would strip that")
    if re.match(rb"(fixup|squash|amend)! ", patch.subject):
        raise bad("is to be folded into another one", "git rebase -i --autosquash")
    if patch.body and not commit.message.startswith(b"\n\n", len(patch.subject)):
        raise bad("no empty line below its subject")
    if commit.message != patch.message():
        raise bad("stray empty lines around its message", "git commit --amend")
    if re.search(rb"^(---|diff -|Index: )", patch.body, re.M) or re.search(rb"[ \t]$", patch.body, re.M):
        raise bad("a line of its message begins with '---' or 'diff -', or ends in a blank: "
                  "it would not survive being mailed")


def from_commits(pset, tree, base, head, topic=None):
    """The patch set that base..head amounts to: ([commit id], [patch], {overlay path: (mode, bytes)})."""
    git = Git(tree)
    span = "%s..%s" % (base, head)
    if git.run("merge-base", "--is-ancestor", base, head, check=False).returncode:
        raise Problem("%s: %s is not an ancestor of %s" % (tree, base, head), "give --base")
    if git.line("rev-list", "--merges", span):
        raise Problem("%s has merges on top of its base" % tree, "git rebase %s" % base)
    topics = pset.conf["topics"]
    if topic and topic not in (topics or []):
        raise Problem("no topic '%s'; topics are: %s" % (topic, ", ".join(topics or []) or "none"))

    old, absent = {}, []
    for number, patch in enumerate(pset.read_for(git, base)):
        if patch.absent:
            absent.append((number, patch))
        else:
            old.setdefault(patch.subject, []).append(patch)
    commits = read_commits(git, span)
    before = [(old.get(commit.subject) or [None]).pop(0) for commit in commits]
    places = [""] * len(commits)
    if topics:
        places = file_topics(commits, [patch and patch.topic for patch in before], topics, topic)

    patches, added, parent = [], {}, base
    in_base = git.ls_tree(base, {path for commit in commits for status, path, _, _ in commit.changes if status == "A"})
    with tempfile.TemporaryDirectory(prefix="vpmu-") as tmp:
        scratch = scratch_git(tmp, tree)
        for commit, kept, place in zip(commits, before, places, strict=True):
            patch = _from_commit(pset, commit, place, added, in_base)
            patch.unless = kept.unless if kept else None
            # A patch that still says the same keeps its text: line numbers follow the base, reviews need not.
            # Equal in all but the text of its diff: stays as it is if that does the same to the parent.
            if (kept and (kept.author, kept.ident(), kept.body, sorted(kept.adds)) ==
                    (patch.author, patch.ident(), patch.body, patch.adds) and
                    (kept.diff == patch.diff or _does(scratch, kept, parent, commit))):
                patch.raw, patch.new_diff, patch.diff = kept.raw, patch.diff, kept.diff
            patches.append(patch)
            parent = commit.name
    contents = git.blobs([sha for _, sha, _ in added.values()])
    overlay = {path: (mode, data) for (path, (mode, _, _)), data in zip(added.items(), contents, strict=True)}
    for number, patch in absent:
        patches.insert(number, patch)
        patch.file = os.path.join(patch.topic, patch.slug())
    count = {}
    for patch in patches:
        place, name = os.path.split(patch.file)
        count[place] = count.get(place, 0) + 1
        patch.file = os.path.join(place, "%04d-%s.patch" % (count[place], name))
    return [commit.name for commit in commits], patches, overlay


def _from_commit(pset, commit, place, added, in_base):
    """One patch; its new files go into `added`: {path: (mode, blob, commit)}."""
    patch = Patch()
    where = "commit %s (\"%s\")" % (commit.name[:12], commit.subject.decode(errors="replace"))

    def bad(what, todo=None):
        return Problem("%s: %s" % (where, what), todo)

    patch.author, patch.date = commit.author, commit.date
    patch.subject, _, body = commit.message.rstrip(b"\n").partition(b"\n")
    patch.body = body.removeprefix(b"\n") + b"\n" if body else b""
    check_message(commit, patch, bad)

    edits = 0
    for status, path, mode, sha in commit.changes:
        if path in added:
            raise bad("changes %s, which the series adds in commit %s: a new file enters once, whole"
                      % (path, added[path][2]),
                      "git commit --fixup=%s, then git rebase -i --autosquash" % added[path][2])
        if status == "A" and place != "older":
            if path in in_base:
                raise bad("adds %s, which the base has and the series removes" % path)
            if pset.own(path):
                raise bad("adds %s: that place is the project's own at the checkout's root" % path)
            if mode not in ("100644", "100755"):
                raise bad("adds %s, which is no plain file" % path)
            if not path.isprintable() or '"' in path or path != path.strip():
                raise bad("adds %r: not a usable file name" % path)
            patch.adds.append(path)
        else:
            edits += 1
    for _, path, mode, sha in commit.changes:
        if path in patch.adds:
            added[path] = (mode, sha, commit.name[:12])
    if not edits and not patch.adds:
        raise bad("changes nothing")
    patch.adds.sort()
    patch.diff = commit.diff_without(patch.adds)
    if re.search(rb"^(Binary files|GIT binary patch)", patch.diff, re.M):
        raise bad("edits a binary file: cannot be mailed as text")
    patch.file = os.path.join(place, patch.slug())
    return patch


def _does(gitdir, patch, parent, commit):
    """Does the patch turn the parent's files into the commit's?"""
    edits = {path for _, path, _, _ in commit.changes} - set(patch.adds)
    try:
        if patch.paths() != edits:
            return False
    except Problem:
        return False
    if not edits:
        return True
    git = Git(gitdir)
    with tempfile.TemporaryDirectory(prefix="vpmu-") as tmp:
        index = Index(tmp, gitdir, git.ls_tree(parent, edits))
        return index.apply(patch.diff) == "" and index.state() == git.ls_tree(commit.name, edits)


def verify(staged, tree, base, ids):
    """Do the patches written from these commits give these commits' content again? Returns those that don't."""
    with tempfile.TemporaryDirectory(prefix="vpmu-") as tmp:
        scratch = Git(scratch_git(tmp, tree))
        built = build(staged, scratch.where, base)
        names = [patch.file for patch in staged.read_for(scratch, base) if not patch.absent]
        return [name for name, a, b in zip(names, scratch.trees(built), scratch.trees(ids), strict=True) if a != b]


# ---- into the checkout ----

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
    write_file(state_file, (json.dumps(state, indent=1, sort_keys=True) + "\n").encode())


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
        write_file(os.path.join(pset.root, name), data, mode)
    for name in sorted(removed):
        full = os.path.join(pset.root, name)
        if os.path.exists(full):
            os.unlink(full)
        parent = os.path.dirname(full)
        while parent != pset.root and not os.listdir(parent):
            os.rmdir(parent)
            parent = os.path.dirname(parent)
    return sorted(changed), sorted(removed)
