"""Times candidates against each other: DeviceClock with CUDA events; HostClock, for trials without a GPU, with the
host's clock.

A candidate is a function of a number: work(i) starts one unit of work on set i of the tensors. The candidates take
turns, so that a drift of the device's clocks affects all of them alike. The results are lists of samples.
"""

import contextlib
import dataclasses
import time

import torch

SAMPLES = 50
# Short work is timed several launches at a time: an event's own cost and resolution are about a microsecond.
LEAST_MICROSECONDS = 60
MOST_LAUNCHES = 64
# Launches in a graph whose replay is one sample.
GRAPH_MICROSECONDS = 200
MOST_GRAPH_LAUNCHES = 200


@dataclasses.dataclass
class Samples:
    """Microseconds of one launch, sample by sample."""

    microseconds: list
    launches: int  # per sample
    starved: int = 0  # samples in which the device may have waited for the host


class DeviceClock:
    """All work runs in one stream, which is current during timing and while its tensors are created."""

    name = "CUDA events"

    def __init__(self):
        self.stream = torch.cuda.Stream()

    def current(self):
        return torch.cuda.stream(self.stream)

    def handle(self):
        return self.stream.cuda_stream

    def synchronize(self):
        self.stream.synchronize()

    def interleaved(self, works, sets=1, samples=SAMPLES):
        """Samples of each candidate of the dictionary. The candidates take turns; a turn is one sample of each. For a
        candidate that fails the result is the reason.

        Before a turn the device sleeps for as long as the host took to enqueue the previous one, which keeps the
        candidates' host time out of their samples.
        """
        reasons = {}
        with self.current():
            launches = _launches(self._estimates(works, sets, reasons), LEAST_MICROSECONDS, MOST_LAUNCHES)
            host_seconds = 0.0
            # The first turn warms up and measures the host's time.
            for turn in range(-1, samples):
                if turn <= 0:
                    self.synchronize()
                    marks = {name: [] for name in works}
                    starved = dict.fromkeys(works, 0)
                torch.cuda._sleep(int(min(host_seconds, 0.05) * 2.5e9) + 1000)
                begun = time.perf_counter()
                for name in _rotated([name for name in works if name not in reasons], turn):
                    begin, end = _event(), _event()
                    try:
                        begin.record()
                        for launch in range(launches):
                            works[name](((turn + 1) * launches + launch) % sets)
                        starved[name] += begin.query()
                        end.record()
                    except Exception as e:
                        reasons[name] = reason_of(e)
                        continue
                    marks[name].append((begin, end))
                host_seconds = time.perf_counter() - begun
            self.synchronize()
        return {
            name: reasons[name] if name in reasons else _samples(marks[name], launches, starved[name]) for name in works
        }

    def replayed(self, works, sets=1, samples=SAMPLES):
        """The same with launches in a graph, one replay per sample: removes most of the launch cost."""
        graphs, kept, reasons = {}, [], {}
        with self.current():
            estimate = self._estimates(works, sets, reasons)
            launches = max(sets, _launches(estimate, GRAPH_MICROSECONDS, MOST_GRAPH_LAUNCHES))
            for name, work in works.items():
                if name in reasons:
                    continue
                self.synchronize()
                try:
                    graph = torch.cuda.CUDAGraph()
                    graph.capture_begin(capture_error_mode="thread_local")
                    try:
                        # Memory that the work allocates must not be reused within the replay.
                        kept.append([work(i % sets) for i in range(launches)])
                    finally:
                        graph.capture_end()
                    graph.replay()
                    self.synchronize()
                    graphs[name] = graph
                except Exception as e:
                    reasons[name] = reason_of(e)
            marks = {name: [] for name in graphs}
            for turn in range(samples):
                for name in _rotated(list(graphs), turn):
                    begin, end = _event(), _event()
                    begin.record()
                    graphs[name].replay()
                    end.record()
                    marks[name].append((begin, end))
            self.synchronize()
            times = {name: _samples(marks[name], launches) for name in graphs}
            kept.clear()
            for graph in graphs.values():
                graph.reset()
        return {**times, **reasons}

    def _estimates(self, works, sets, reasons):
        """Microseconds per launch of the fastest candidate, all of them warm. Every candidate is timed with the same
        number of launches, so that an event's cost is the same fraction for all."""
        times = []
        for name, work in works.items():
            try:
                times.append(self._estimate(work, sets))
            except Exception as e:
                reasons[name] = reason_of(e)
        return min(times, default=1.0)

    def _estimate(self, work, sets):
        """Microseconds per launch, after a warm-up."""
        for i in range(3):
            work(i % sets)
        begin, end = _event(), _event()
        begin.record()
        for i in range(3):
            work(i % sets)
        end.record()
        self.synchronize()
        return begin.elapsed_time(end) * 1000 / 3


class HostClock:
    """The same interface without a GPU, for trials. Its times mean nothing."""

    name = "the host's clock, on a machine without a GPU"

    def current(self):
        return contextlib.nullcontext()

    def handle(self):
        return 0

    def synchronize(self):
        pass

    def interleaved(self, works, sets=1, samples=SAMPLES):
        times = {name: [] for name in works}
        reasons = {}
        for turn in range(samples):
            for name in _rotated([name for name in works if name not in reasons], turn):
                begun = time.perf_counter()
                try:
                    works[name](turn % sets)
                except Exception as e:
                    reasons[name] = reason_of(e)
                    continue
                times[name].append((time.perf_counter() - begun) * 1e6)
        return {name: reasons[name] if name in reasons else Samples(times[name], 1) for name in works}

    def replayed(self, works, sets=1, samples=SAMPLES):
        return self.interleaved(works, sets, samples)


def _samples(marks, launches, starved=0):
    return Samples([begin.elapsed_time(end) * 1000 / launches for begin, end in marks], launches, starved)


def reason_of(error):
    """An exception in one line."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else 'no message'}"[:300]


def _launches(estimate, least, most):
    return max(1, min(most, -int(-least // max(estimate, 0.1))))


def _rotated(names, turn):
    """The candidates, rotated by the turn, so that none always follows the same one."""
    first = turn % max(1, len(names))
    return names[first:] + names[:first]


def _event():
    return torch.cuda.Event(enable_timing=True)
