# SPDX-License-Identifier: GPL-2.0
"""The command line: python3 scripts/patchset COMMAND ..."""

import argparse
import os
import shutil
import sys
import tempfile

# Run as a directory, whose parent is then not searched.
if not __package__:
    sys.path[0] = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))

import patchset  # noqa: E402
from patchset.archive import tree_of_tar  # noqa: E402
from patchset.building import build  # noqa: E402
from patchset.checks import check_maintainers, insert_maintainers, roundtrip  # noqa: E402
from patchset.fitting import fit  # noqa: E402
from patchset.git import Git  # noqa: E402
from patchset.importing import from_commits, install, remember, verify  # noqa: E402
from patchset.layout import SETS, PatchSet  # noqa: E402
from patchset.problem import Problem, say  # noqa: E402
from patchset.sending import write_mails  # noqa: E402


def cmd_tar(args):
    print(tree_of_tar(args.gitdir))


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
    commits = build(pset, args.gitdir, args.base, args.ref)
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

    ids, patches, overlay = from_commits(pset, tree, base, head, args.topic)
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
                          "this is a fault of scripts/patchset: please report it with the tree")
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
    print("%d patches, %d files" % roundtrip(PatchSet(args.set, args.root), args.gitdir, args.base))


def cmd_mails(args):
    print(write_mails(args.root, args.gitdir, args.base, args.tip, args.out, args.cover, args.prefix))


def cmd_maintainers(args):
    if args.insert:
        insert_maintainers(args.root, args.insert)
    else:
        print("%d entries" % check_maintainers(args.root, args.gitdir, args.base, args.tip))


def main():
    parser = argparse.ArgumentParser(prog="patchset", description=patchset.__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
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
