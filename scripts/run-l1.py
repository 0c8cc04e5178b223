#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Run the emulator until L1 powers off, with L1's console in a file, on stdout or on the terminal.

Bochs (--bochs PROGRAM --rc FILE): FILE must have a line "com1: @CONSOLE@", which is replaced.
QEMU (--qemu COMMAND...): "-serial DEVICE" is added.  Exit status: L1's own ("vpmu: L1 exit status N"
on its console, at most 119; 0 if somebody powers it off from an interactive console), 124 after the
time limit, 125 if the emulator ended otherwise, 130 after Ctrl-C.

Examples: run-l1.py --console console.log --echo --timeout 300 --bochs ./bochs --rc bochsrc
          run-l1.py --console console.log --qemu qemu-system-x86_64 -kernel bzImage -append console=ttyS0
"""

import argparse
import ctypes
import fcntl
import os
import pty
import re
import resource
import select
import signal
import subprocess
import sys
import termios
import time
import tty

ESCAPE = 0x1D  # Ctrl-]
# Of the shells of rig/host/init and rig/guest/init, and of the rest of their commands of several lines. Before a line
# is edited, the shell asks the terminal where the cursor is.
WHERE = b"\x1b[6n"
PROMPT = re.compile(rb"^\r?(?:L1# |L2# |> )(?:\x1b\[6n)?$")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--bochs", help="the emulator")
    which.add_argument("--qemu", nargs=argparse.REMAINDER, help="QEMU and all of its arguments; comes last")
    parser.add_argument("--rc", help="Bochs' configuration")
    parser.add_argument("--console", required=True, help="file for all that L1 writes to its console")
    parser.add_argument("--echo", action="store_true", help="show the console on stdout, too")
    parser.add_argument("--interactive", action="store_true", help="connect the console with stdin and stdout")
    parser.add_argument("--timeout", type=float, default=0, help="seconds of real time until the emulator is ended")
    parser.add_argument("--times", help="file for the emulator's processor time, in seconds")
    args = parser.parse_args()
    if args.bochs and not args.rc:
        parser.error("--bochs needs --rc")
    return args


def die_with_parent():
    """The emulator must not outlive this script, however it ends."""
    PR_SET_PDEATHSIG = 1
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def write_all(fd, data):
    while data:
        data = data[os.write(fd, data):]


def command(args, device, tty_device):
    """The emulator's command line, with its first serial port on `device`."""
    if args.qemu:
        return args.qemu + ["-serial", device if tty_device else "file:" + device]
    with open(args.rc, encoding="utf-8") as f:
        text = f.read()
    if "@CONSOLE@" not in text:
        sys.exit(f"run-l1.py: no line 'com1: @CONSOLE@' in {args.rc}")
    actual = args.rc + ".run"
    with open(actual, "w", encoding="utf-8") as f:
        f.write(text.replace("@CONSOLE@", f"enabled=1, mode={'term' if tty_device else 'file'}, dev={device}"))
    return [args.bochs, "-q", "-f", actual]


def start(args, device, tty_device, inherited):
    """Starts the emulator; what it says itself goes into a file beside the console's."""
    argv = command(args, device, tty_device)
    with open(os.path.join(os.path.dirname(args.console), "emulator.out"), "wb") as out:
        return subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                                pass_fds=inherited, start_new_session=True, preexec_fn=die_with_parent)


def end(child):
    """Ends the emulator's process group, patiently first."""
    for sig in (signal.SIGTERM, signal.SIGKILL):
        if child.poll() is not None:
            return
        try:
            os.killpg(child.pid, sig)
        except ProcessLookupError:
            return
        try:
            child.wait(timeout=3)
        except subprocess.TimeoutExpired:
            pass


def last_words(console):
    """Why the emulator ended: what Bochs says between two lines of '=', or the last line."""
    with open(os.path.join(os.path.dirname(console), "emulator.out"), encoding="utf-8", errors="replace") as f:
        lines = [line.strip() for line in f if line.strip() and not line.startswith("====")]
    for number, line in enumerate(lines[:-1]):
        if "exiting with the following message" in line:
            return lines[number + 1]
    return lines[-1] if lines else "says nothing"


class Console:
    """What comes from L1: into the log, onto stdout, searched for the exit status."""

    marker = re.compile(rb"vpmu: L1 exit status (\d+)\r*$")
    power_down = re.compile(rb"^\[ *[\d.]+\] reboot: Power down\r*$")

    def __init__(self, log, args):
        self.log = log
        self.echo = args.echo or args.interactive
        self.interactive = args.interactive
        self.line = b""
        self.status = None
        self.terminal = args.interactive and os.isatty(0)
        self.held = b""

    def feed(self, data):
        self.log.write(data)
        self.log.flush()
        if self.echo:
            self.show(data)
        *lines, self.line = (self.line + data).split(b"\n")
        for line in lines:
            match = self.marker.search(line)
            if match:
                self.status = min(int(match[1]), 119)
            elif self.interactive and self.status is None and self.power_down.search(line):
                self.status = 0  # somebody typed "poweroff -f"

    def show(self, data):
        """On stdout; what asks for the cursor is for terminals alone, and may come in pieces."""
        if not self.terminal:
            data = (self.held + data).replace(WHERE, b"")
            held = next((n for n in (3, 2, 1) if data.endswith(WHERE[:n])), 0)
            data, self.held = data[:len(data) - held], data[len(data) - held:]
        write_all(1, data)

    def typed(self):
        """Somebody types: until the next prompt the shell is busy."""
        self.line += b" "

    def prompt(self):
        """Does a shell wait for a line? (The prompt is no whole line.)"""
        return bool(PROMPT.search(self.line))


def drain(fd, console):
    """Everything that is there now; False at the end of file."""
    try:
        data = os.read(fd, 65536)
    except BlockingIOError:
        return True
    except OSError:  # EIO: the terminal's other side is closed
        return False
    if data:
        console.feed(data)
    return bool(data)


def loop(args, child, fd, console):
    """Until the emulator ends: 0, or until time is up: 124, or until somebody types Ctrl-]: 130."""
    deadline = time.monotonic() + args.timeout if args.timeout else None
    inputs = [fd] + ([0] if console.terminal else [])
    script = None
    while child.poll() is None:
        # What a script types before a shell reads would be lost, or read by another program.
        if args.interactive and not console.terminal and console.prompt():
            script = script or sys.stdin.buffer
            console.typed()
            write_all(fd, script.readline() or b"\x04")
        ready, _, _ = select.select(inputs, [], [], 0.2)
        if fd in ready and not drain(fd, console):
            inputs = [i for i in inputs if i != fd]
        if 0 in ready:
            data = os.read(0, 1024)
            if not data:
                inputs.remove(0)
                data = b"\x04"
            if ESCAPE in data:
                return 130
            write_all(fd, data)
        if deadline and time.monotonic() > deadline:
            return 124
    os.set_blocking(fd, False)
    while fd in inputs and select.select([fd], [], [], 0)[0] and drain(fd, console):
        pass
    return 0


def main():
    args = arguments()
    saved = None
    with open(args.console, "wb") as log:
        console = Console(log, args)
        if args.interactive:
            fd, theirs = pty.openpty()
            tty.setraw(theirs)
            child = start(args, os.ttyname(theirs), True, ())
            if os.isatty(0):
                saved = termios.tcgetattr(0)
                tty.setraw(0)
        else:
            fd, theirs = os.pipe()
            # A full pipe would stop the emulated machine.
            fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, 1 << 20)
            child = start(args, f"/dev/fd/{theirs}", False, (theirs,))
            os.close(theirs)
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        try:
            status = loop(args, child, fd, console)
        except KeyboardInterrupt:
            status = 130
        finally:
            end(child)
            if saved:
                termios.tcsetattr(0, termios.TCSADRAIN, saved)
    if args.times:
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        with open(args.times, "w", encoding="utf-8") as f:
            f.write(f"{used.ru_utime + used.ru_stime:.3f}\n")
    if status == 0:
        status = 125 if console.status is None else console.status
    if status == 125:
        print(f"the emulator: {last_words(args.console)}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
