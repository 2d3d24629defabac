"""Runs the calls of a stage: each a process in its own group, with a limit, several at a time. Their output is read
line by line as it arrives. Standard library only."""

import ctypes
import dataclasses
import os
import selectors
import signal
import subprocess
import time

# Between SIGTERM and SIGKILL.
GRACE_SECONDS = 3.0
LONGEST_LINE = 20000
KEPT_LINES = 40


@dataclasses.dataclass
class Call:
    """A process to run, and the reader of its output."""

    name: str
    command: list
    reader: object
    environment: dict = dataclasses.field(default_factory=dict)
    limit: float | None = None
    # Runs if this call ends without a result.
    instead: "Call | None" = None


@dataclasses.dataclass
class Ended:
    """How a call ended. status: the exit status, negative for a signal, None if it never started."""

    call: Call
    status: int | None
    seconds: float
    stopped: bool = False  # at its limit
    results: int = 0
    why: str = ""  # the reason; empty if it ended well
    tail: list = dataclasses.field(default_factory=list)


class _Running:
    def __init__(self, call, process, deadline):
        self.call, self.process, self.deadline = call, process, deadline
        self.begun = time.monotonic()
        self.rest = b""
        self.tail, self.results = [], 0
        self.at_end_of_output = False


class Runner:
    """Calls on_line(call, text) for every line, on_result(call, result) for every result of the call's reader, and
    on_wait() several times a second."""

    def __init__(self, on_line, on_result, on_wait=lambda: None):
        self.on_line, self.on_result, self.on_wait = on_line, on_result, on_wait
        self.selector = selectors.DefaultSelector()
        self.running = []

    def run(self, calls, deadline, at_once=1):
        """Runs until all calls have ended or the deadline has passed. Returns how each ended, in the order of calls."""
        waiting, ended = list(calls), []
        try:
            while waiting or self.running:
                while waiting and len(self.running) < at_once and time.monotonic() < deadline:
                    call = waiting.pop(0)
                    if (failure := self._begin(call, deadline)) is not None:
                        ended.append(failure)
                if not self.running:
                    if time.monotonic() >= deadline:
                        break
                    continue
                for of_call in self._wait():
                    outcome = self._finish(of_call)
                    ended.append(outcome)
                    if outcome.results == 0 and of_call.call.instead is not None and not outcome.stopped:
                        waiting.insert(0, of_call.call.instead)
            ended += [Ended(call, None, 0.0, why="no time was left for it") for call in waiting]
        finally:
            for of_call in self.running:
                _kill(of_call.process, signal.SIGKILL)
                self._forget(of_call)
            self.running = []
        return ended

    def _begin(self, call, deadline):
        """Starts the call. Returns an Ended if it could not be started."""
        try:
            process = subprocess.Popen(
                call.command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONUNBUFFERED": "1", **call.environment}, process_group=0,
                preexec_fn=_end_with_the_parent,
            )  # fmt: skip
        except OSError as e:
            return Ended(call, None, 0.0, why=f"{call.command[0]} cannot be run: {e.strerror}")
        os.set_blocking(process.stdout.fileno(), False)
        limit = deadline if call.limit is None else min(deadline, time.monotonic() + call.limit)
        of_call = _Running(call, process, limit)
        self.selector.register(process.stdout, selectors.EVENT_READ, of_call)
        self.running.append(of_call)
        return None

    def _wait(self):
        """Reads available output. Returns the calls that have ended or are past their limit."""
        next_deadline = min(of_call.deadline for of_call in self.running)
        timeout = max(0.01, min(0.1, next_deadline - time.monotonic()))
        for key, _ in self.selector.select(timeout):
            self._read(key.data)
        self.on_wait()
        return [
            of_call
            for of_call in list(self.running)
            if of_call.process.poll() is not None or time.monotonic() >= of_call.deadline
        ]

    def _read(self, of_call):
        try:
            data = of_call.process.stdout.read1(1 << 16)
        except BlockingIOError:
            return False
        if not data:
            if data == b"" and not of_call.at_end_of_output:
                of_call.at_end_of_output = True
                self.selector.unregister(of_call.process.stdout)
            return False
        *lines, of_call.rest = (of_call.rest + data).split(b"\n")
        if len(of_call.rest) > LONGEST_LINE:
            lines, of_call.rest = [*lines, of_call.rest], b""
        for line in lines:
            self._line(of_call, line)
        return True

    def _line(self, of_call, line):
        text = line[:LONGEST_LINE].decode(errors="replace").rstrip("\r")
        of_call.tail = [*of_call.tail[1 - KEPT_LINES :], text]
        self.on_line(of_call.call, text)
        self._results(of_call, of_call.call.reader.line(text))

    def _results(self, of_call, results):
        for result in results:
            of_call.results += 1
            self.on_result(of_call.call, result)

    def _finish(self, of_call):
        """Ends the call if it still runs, and reads the rest of its output."""
        process, stopped = of_call.process, of_call.process.poll() is None
        if stopped:
            _kill(process, signal.SIGTERM)
            until = time.monotonic() + GRACE_SECONDS
            while process.poll() is None and time.monotonic() < until:
                if of_call.at_end_of_output or not self._read(of_call):
                    time.sleep(0.02)
        # Its surviving child processes would keep its output open.
        _kill(process, signal.SIGKILL)
        try:
            status = process.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            status = -signal.SIGKILL
        while not of_call.at_end_of_output and self._read(of_call):
            pass
        if of_call.rest:
            self._line(of_call, of_call.rest)
        seconds = time.monotonic() - of_call.begun
        why = ""
        if stopped:
            why = f"stopped at its limit of {seconds:.0f} s"
        elif status < 0:
            why = f"ended by signal {-status} ({signal.Signals(-status).name})"
        elif status > 0:
            why = f"exit status {status}"
        self._results(of_call, of_call.call.reader.end(why))
        self._forget(of_call)
        self.running.remove(of_call)
        return Ended(of_call.call, status, seconds, stopped, of_call.results, why, of_call.tail)

    def _forget(self, of_call):
        if not of_call.at_end_of_output:
            self.selector.unregister(of_call.process.stdout)
        of_call.process.stdout.close()


def _kill(process, number):
    """Sends the signal to the whole group. A group that has ended is no failure."""
    try:
        os.killpg(process.pid, number)
    except (ProcessLookupError, PermissionError):
        pass


_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


def _end_with_the_parent():
    """Runs in the child: the kernel kills the child when this process ends, however it ends."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
