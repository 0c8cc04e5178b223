# SPDX-License-Identifier: GPL-2.0
"""Errors that the user can do something about, and what is said on the way."""

import sys


class Problem(Exception):
    """What is wrong, and what to do next."""

    def __init__(self, what, todo=None, file=None, state=None):
        super().__init__(what)
        self.todo = todo
        self.file = file        # the patch that does not apply
        self.state = state      # the files that it should have applied to: {path: (mode, blob)}


def say(text):
    print(text, file=sys.stderr, flush=True)
