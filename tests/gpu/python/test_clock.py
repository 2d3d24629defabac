"""The device's clock on a fake device, which runs work in order while the host continues."""

import contextlib
import sys
import types
import unittest

import scripts  # clock, imported later, is found through it.


class Device:
    """The device time at which all work enqueued so far will be done."""

    def __init__(self):
        self.busy_until = 0.0
        self.graph = None
        self.host_time = 0.0

    def run(self, seconds):
        if self.graph is not None:
            self.graph.append(seconds)
        else:
            self.busy_until = max(self.busy_until, self.host_time) + seconds


def pretended(device):
    """The part of torch that the clock uses."""

    class Event:
        def __init__(self, enable_timing):
            assert enable_timing

        def record(self):
            self.at = max(device.busy_until, device.host_time)

        def query(self):
            return self.at <= device.host_time

        def elapsed_time(self, end):
            return (end.at - self.at) * 1000

    class Stream:
        cuda_stream = 7

        def synchronize(self):
            device.host_time = max(device.host_time, device.busy_until)

    class CUDAGraph:
        def capture_begin(self, capture_error_mode):
            self.recorded = device.graph = []

        def capture_end(self):
            device.graph = None

        def replay(self):
            device.run(sum(self.recorded))

        def reset(self):
            self.recorded = None

    cuda = types.SimpleNamespace(
        Event=Event, Stream=Stream, CUDAGraph=CUDAGraph, stream=lambda stream: contextlib.nullcontext(),
        _sleep=lambda cycles: device.run(cycles / 2e9),
    )  # fmt: skip
    return types.SimpleNamespace(cuda=cuda)


class Work:
    """Work that takes given microseconds on the device and on the host, and fails after a given number of calls."""

    def __init__(self, device, microseconds, host=1.0, fails_after=None):
        self.device, self.microseconds, self.host, self.fails_after = device, microseconds, host, fails_after
        self.sets = []

    def __call__(self, i):
        if self.fails_after is not None and len(self.sets) >= self.fails_after:
            raise ValueError("that was all\nof it")
        self.sets.append(i)
        self.device.host_time += self.host * 1e-6
        self.device.run(self.microseconds * 1e-6)


class Clock(unittest.TestCase):
    def setUp(self):
        self.device = Device()
        real = sys.modules.get("torch")
        sys.modules["torch"] = pretended(self.device)
        sys.modules.pop("clock", None)
        import clock

        # The host's time is the fake one.
        clock.time = types.SimpleNamespace(perf_counter=lambda: self.device.host_time)
        self.module = clock
        sys.modules.pop("clock")
        if real is None:
            del sys.modules["torch"]
        else:
            sys.modules["torch"] = real
        self.clock = clock.DeviceClock()

    def test_candidates_are_timed_separately(self):
        works = {"a": Work(self.device, 20), "b": Work(self.device, 500), "c": Work(self.device, 70)}
        found = self.clock.interleaved(works, sets=5, samples=50)
        for name, work in works.items():
            self.assertEqual(len(found[name].microseconds), 50)
            for sample in found[name].microseconds:
                self.assertAlmostEqual(sample, work.microseconds, 3)
            self.assertEqual(set(work.sets), set(range(5)))
        # 60 us of the fastest, and the same number of launches of the others.
        self.assertEqual({samples.launches for samples in found.values()}, {3})

    def test_host_time_is_not_in_the_samples(self):
        works = {"ours": Work(self.device, 10, host=5), "autograd": Work(self.device, 12, host=200)}
        found = self.clock.interleaved(works, samples=50)
        for name, work in works.items():
            self.assertEqual(found[name].starved, 0)
            for sample in found[name].microseconds:
                self.assertAlmostEqual(sample, work.microseconds, 3)

    def test_samples_that_waited_for_the_host_are_marked(self):
        # The device sleeps at most a twentieth of a second.
        works = {"endless": Work(self.device, 10, host=100000)}
        found = self.clock.interleaved(works, samples=5)
        self.assertEqual(found["endless"].starved, 5)

    def test_a_failing_candidate_does_not_affect_others(self):
        works = {"a": Work(self.device, 20), "b": Work(self.device, 30, 1, 40), "c": Work(self.device, 9, 1, 0)}
        found = self.clock.interleaved(works, samples=50)
        self.assertEqual(len(found["a"].microseconds), 50)
        self.assertEqual((found["b"], found["c"]), ("ValueError: that was all", "ValueError: that was all"))

    def test_a_launch_in_a_graph(self):
        works = {"a": Work(self.device, 2, host=50), "b": Work(self.device, 3), "c": Work(self.device, 5, 1, 20)}
        found = self.clock.replayed(works, sets=150, samples=50)
        self.assertAlmostEqual(found["a"].microseconds[17], 2, 3)
        self.assertAlmostEqual(found["b"].microseconds[49], 3, 3)
        self.assertEqual(found["c"], "ValueError: that was all")
        self.assertEqual(found["a"].launches, found["b"].launches)
        self.assertEqual(set(works["a"].sets), set(range(150)))


if __name__ == "__main__":
    unittest.main()
