# SPDX-License-Identifier: GPL-2.0
"""One patch: a commit as a mail."""

import email.utils
import os
import re

from .problem import Problem


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

    def slug(self):
        """The file name that git format-patch would choose."""
        text = re.sub(r"[^A-Za-z0-9._]+", "-", self.subject.decode(errors="replace")).strip("-")
        text = re.sub(r"\.{2,}", ".", text)
        return text[:52].rstrip(".-")

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
