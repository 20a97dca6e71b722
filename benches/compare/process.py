"""Processes that this comparison starts, measures and ends: always by pid, never by name."""

import os
import signal
import socket
import subprocess
import time
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
START_DEADLINE = 15.0
STOP_DEADLINE = 10.0


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def wait_until(ready, process, what):
    deadline = time.monotonic() + START_DEADLINE
    while not ready():
        if process.popen.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"{what} did not start; its log:\n{process.log_end()}")
        time.sleep(0.02)


def accepts(port):
    try:
        socket.create_connection(("127.0.0.1", port), 0.5).close()
        return True
    except OSError:
        return False


class Process:
    """A child with a log of its own, pinned to `cpu`."""

    def __init__(self, command, cpu, log, stdin=subprocess.DEVNULL, stdout=None):
        self.log = Path(log)
        self.file = open(log, "wb")
        self.popen = subprocess.Popen(
            [str(part) for part in command],
            stdin=stdin,
            stdout=stdout or self.file,
            stderr=self.file,
            preexec_fn=lambda: os.sched_setaffinity(0, {cpu}),
        )
        self.pid = self.popen.pid
        self.traced = str(command[0]) == "strace"

    def log_end(self):
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-15:])

    def tree(self):
        """Its pid and those of all its descendants."""
        found, new = [], [self.pid]
        while new:
            pid = new.pop()
            found.append(pid)
            for task in Path(f"/proc/{pid}/task").glob("*/children"):
                try:
                    new += [int(child) for child in task.read_text().split()]
                except OSError:
                    pass  # It has ended meanwhile.
        return found

    def cpu_seconds(self):
        """User and system time of the tree, ended children included."""
        total = 0
        for pid in self.tree():
            try:
                fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
            except OSError:
                continue
            total += sum(int(field) for field in fields[11:15])
        return total / TICKS

    def memory_kb(self):
        """Proportional set size of the tree."""
        total = 0
        for pid in self.tree():
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1])
        return total

    def stop(self, patience=STOP_DEADLINE):
        if self.popen.poll() is not None:
            self.file.close()
            return
        children = self.tree()[1:]
        # strace waits for what it traces, and ignores a request to end.
        os.kill(children[0] if self.traced and children else self.pid, signal.SIGTERM)
        try:
            self.popen.wait(patience)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.popen.wait()
        for pid in children:
            try:
                os.kill(pid, signal.SIGKILL)
            except OSError:
                pass  # It has ended with its parent.
        self.file.close()
