"""The output folder of a run: summary.txt, log.txt, results.jsonl (a line for each result), details.tar.gz (all other
output of the stages that have ended) and, while a stage runs, stage.log. All of them are up to date at any time. There
are few files and no folders, because a borrowed machine may return only a few. Standard library only."""

import json
import os
import shutil
import sys
import tarfile
import tempfile

FILES = ("summary.txt", "log.txt", "results.jsonl", "details.tar.gz", "stage.log")
MOST_LOG_BYTES = 4 << 20


class Output:
    def __init__(self, directory):
        self.directory = directory
        os.makedirs(directory, exist_ok=True)
        for name in FILES:
            if os.path.exists(self.path(name)):
                os.remove(self.path(name))
        # Outside of the output folder, which must have few files. They go into the archive.
        self.details = tempfile.mkdtemp(prefix="normcore-kit-")
        self.log = open(self.path("log.txt"), "a")
        self.results = open(self.path("results.jsonl"), "a")
        self.stage_log, self.stage_bytes = None, 0

    def path(self, name):
        return os.path.join(self.directory, name)

    def say(self, text):
        """Prints the text, and writes it to the log."""
        print(text, flush=True)
        print(text, file=self.log, flush=True)

    def result(self, result):
        print(json.dumps(result), file=self.results, flush=True)

    def begin_stage(self):
        self.stage_log, self.stage_bytes = open(self.path("stage.log"), "w"), 0

    def line(self, text):
        """Writes a line of a stage's process to the stage's log."""
        if self.stage_bytes > MOST_LOG_BYTES:
            return
        self.stage_bytes += len(text) + 1
        print(text, file=self.stage_log, flush=True)
        if self.stage_bytes > MOST_LOG_BYTES:
            print("... and more, which is not kept", file=self.stage_log, flush=True)

    def end_stage(self, name):
        self.stage_log.close()
        shutil.move(self.path("stage.log"), os.path.join(self.details, f"{name}.log"))
        self.archive()

    def archive(self):
        """Replaces the archive by renaming, so that a complete one exists at any time."""
        unfinished = os.path.join(self.directory, ".details.tar.gz")
        with tarfile.open(unfinished, "w:gz", compresslevel=6) as archive:
            archive.add(self.details, arcname="details")
        os.replace(unfinished, self.path("details.tar.gz"))

    def summary(self, text):
        unfinished = os.path.join(self.directory, ".summary.txt")
        with open(unfinished, "w") as file:
            file.write(text)
        os.replace(unfinished, self.path("summary.txt"))

    def close(self):
        self.archive()
        for file in (self.log, self.results):
            file.close()
        shutil.rmtree(self.details, ignore_errors=True)
        sys.stdout.flush()
