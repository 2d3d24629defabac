"""What a run of the kit leaves in its output folder, at any time: summary.txt, log.txt, results.jsonl (a line for each
result), details.tar.gz (whatever else the ended stages have written) and, while a stage runs, stage.log. Few files and
no folders, since little of what is written on a borrowed machine can be brought back. Standard library only."""

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
        # Outside of the output folder, of which only so many files can be brought back: the archive has them.
        self.details = tempfile.mkdtemp(prefix="normcore-kit-")
        self.log = open(self.path("log.txt"), "a")
        self.results = open(self.path("results.jsonl"), "a")
        self.stage_log, self.stage_bytes = None, 0

    def path(self, name):
        return os.path.join(self.directory, name)

    def say(self, text):
        """To whoever watches, and to the log."""
        print(text, flush=True)
        print(text, file=self.log, flush=True)

    def result(self, result):
        print(json.dumps(result), file=self.results, flush=True)

    def begin_stage(self):
        self.stage_log, self.stage_bytes = open(self.path("stage.log"), "w"), 0

    def line(self, text):
        """What a stage's process has printed."""
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
        """Anew after each stage, and renamed into place: there is always a whole one."""
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
