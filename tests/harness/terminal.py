"""Plays a script of keys on a terminal.

Steps:  expect REGEX    wait until the output since the last match contains it
        send TEXT       type it; \\r, \\e, \\x03 and the like as in Python strings
        size ROWS COLS  change the window's size
        close           hang up
Returns (status, output). Time is bounded as a whole; nothing sleeps.
"""
import codecs
import fcntl
import os
import re
import select
import struct
import subprocess
import termios
import time

from .runner import Failure
from .world import clip, kill_session


class Player:
    def __init__(self, process, master, timeout):
        self.process, self.master = process, master
        self.deadline = time.monotonic() + timeout
        self.output, self.seen = b"", 0

    def read_more(self):
        """False at the end of the terminal."""
        left = self.deadline - time.monotonic()
        if left <= 0 or not select.select([self.master], [], [], left)[0]:
            raise Failure(f"time is up\n{clip(self.output)}")
        try:
            data = os.read(self.master, 65536)
        except OSError:
            return False
        self.output += data
        return bool(data)

    def expect(self, pattern):
        expression = re.compile(pattern.encode())
        while True:
            match = expression.search(self.output, self.seen)
            if match:
                self.seen = match.end()
                return
            if not self.read_more():
                raise Failure(f"ended while waiting for {pattern!r}\n{clip(self.output)}")

    def send(self, text):
        data = codecs.decode(text.replace("\\e", "\\x1b"), "unicode_escape").encode("latin-1")
        while data:
            data = data[os.write(self.master, data):]

    def step(self, line):
        verb, _, rest = line.partition(" ")
        if verb == "expect":
            self.expect(rest)
        elif verb == "send":
            self.send(rest)
        elif verb == "size":
            rows, columns = map(int, rest.split())
            fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        elif verb == "close":
            os.close(self.master)
            self.master = -1
        else:
            raise Failure(f"unknown step {line!r}")

    def drain(self):
        while self.master >= 0 and self.read_more():
            pass

    def play(self, steps):
        try:
            for line in steps:
                self.step(line)
            self.drain()
            return self.process.wait(max(0.1, self.deadline - time.monotonic())), self.output
        except subprocess.TimeoutExpired:
            raise Failure(f"did not end\n{clip(self.output)}") from None
        finally:
            if self.process.poll() is None:
                kill_session(self.process)
                self.process.wait()
            if self.master >= 0:
                os.close(self.master)


def play(process, master, steps, timeout):
    return Player(process, master, timeout).play(steps)
