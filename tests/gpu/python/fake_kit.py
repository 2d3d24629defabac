"""A kit whose programs are controlled by FAKE_... variables, so that the tests can try every outcome of a run, in
seconds, without a GPU and without PyTorch."""

import json
import os
import subprocess
import sys

import scripts

# gpu_norm_test: FAKE_GATE controls the gate, FAKE_BITS the rest.
TESTS = r"""#!/bin/sh
how=$FAKE_BITS suite=Triples/CudaFast.ShortRows
case "$1" in
  *filter=*GpuGate*) [ "${1#*-\*GpuGate}" != "$1" ] || { how=$FAKE_GATE suite=Hot/GpuGate.IsTheCpus; } ;;
esac
echo "$1" >> "$FAKE_FOLDER/tests.txt"
echo "[ RUN      ] $suite/Rms_bf16_64"
echo "[       OK ] $suite/Rms_bf16_64 (3 ms)"
echo "[ RUN      ] $suite/Rms_bf16_4096"
case "$how" in
  wrong)
    echo "y: element 7 has other bits"
    echo "[  FAILED  ] $suite/Rms_bf16_4096, where GetParam() = (4096, 0, 2) (5 ms)"
    exit 1
    ;;
  crash) kill -SEGV $$ ;;
  hang) exec sleep 60 ;;
esac
echo "[       OK ] $suite/Rms_bf16_4096 (4 ms)"
"""
GARBAGE = r"""#!/bin/sh
head -c 3000 /dev/urandom
echo '{"result": 7}'
echo '{"result": '
"""
# compare.py --select alone: does what FAKE_ALONE says after two results.
COMPARE = """
import json, os, signal, sys, time
stage = sys.argv[sys.argv.index("--select") + 1]
how = os.environ.get("FAKE_" + stage.upper(), "")
with open(os.path.join(os.environ["FAKE_FOLDER"], f"{stage}.pid"), "w") as file:
    file.write(str(os.getpid()))
def put(kind, n, us):
    print(json.dumps({"result": "speed", "op": "rms_norm", "kind": kind, "x_dtype": "bfloat16",
        "weight_dtype": "bfloat16", "rounding": "compute", "rows": 32768, "n": n, "us": us, "gbs": 4000.0,
        "copy_gbs": 4250.0, "of_copy": 0.94, "over_empty": None, "words": f"{kind} {n}",
        "peers": {"PyTorch": 2 * us} if stage == "peers" else {}}), flush=True)
put("forward", 4096, 131.0)
put("backward", 4096, 220.0)
if how == "crash":
    os.kill(os.getpid(), signal.SIGABRT)
if how == "hang":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(60)
if how == "raise":
    raise RuntimeError("CUDA error: an illegal memory access was encountered")
if how == "wrong":
    print(json.dumps({"result": "wrong", "text": "our y is 3 tolerances from the formula"}), flush=True)
    sys.exit(1)
put("forward", 256, 9.0)
"""
PROBE = """
import json, os, sys
if "--device" in sys.argv:
    if os.environ.get("FAKE_DEVICE") == "none":
        print("there is no CUDA device: the driver is missing")
        sys.exit(2)
    sys.exit(0)
print(json.dumps({"result": "fact", "name": "device", "value": "a fake"}))
if os.environ.get("FAKE_DEVICE") == "lacks":
    print(json.dumps({"result": "plan", "case": "rms_norm bfloat16 compute 262144", "role": "forward aligned",
                      "left_out": "no room for its clusters"}))
"""
TUNE = """
import json, os, sys
case = {"result": "tuned", "doing": "done", "case": "backward rms_norm bfloat16 32768x256", "key": [], "bytes": 5e7,
        "microseconds": {"product": [20.0, 19.9, 20.1], "product again": [20.0, 19.9, 20.1],
                         "whole-rows": [18.0, 17.9, 18.1]}, "wrong": {"blocks-4": "dx: 3 times the bound"}}
print(json.dumps(case), flush=True)
sys.exit(1 if os.environ.get("FAKE_TUNE") == "fails" else 0)
"""
# Runs the kit with fewer launches to count, and short limits for the stages in FAKE_CUT, which hang.
DRIVER = """
import dataclasses, os, sys
sys.path.insert(0, sys.argv.pop(1))
import kit, kit_run, kit_stages
kit_run.GRACE_SECONDS, kit.LEAST_SECONDS, kit.LAST_SECONDS = 0.5, 1.0, 3.0
kit_stages.COUNTED = kit_stages.COUNTED[:2]
cut = os.environ.get("FAKE_CUT", "").split(",")
kit.GATE_SECONDS = 2.5 if "gate-sanitizers" in cut else kit.GATE_SECONDS
kit.ALL = tuple(dataclasses.replace(stage, limit=2.5 if stage.name in cut else stage.limit) for stage in kit.ALL)
kit.main()
"""


class FakeKit:
    """In the folder: the kit, a dummy PyTorch package, and the output."""

    def __init__(self, folder, **without):
        self.folder, self.root, self.out = folder, os.path.join(folder, "kit"), os.path.join(folder, "out")
        self.modules = os.path.join(folder, "modules")
        os.makedirs(self.modules)
        for name in ("bin", "lib", "simulator"):
            os.makedirs(os.path.join(self.root, name))
        for name, path in scripts.packed():
            os.symlink(path, os.path.join(self.root, name))
        # A script imports from its own folder, so the started one must not be a link.
        for name in ("kit.py", "kernel_names.py"):
            with open(scripts.path_of(name)) as file:
                self.script(name, file.read())
        stand_ins = scripts.path_of("stand_in")
        for name in os.listdir(stand_ins):
            os.symlink(os.path.join(stand_ins, name), os.path.join(self.root, "simulator", name))
        self.script("bin/gpu_norm_test", TESTS)
        self.script("bin/gpu_counters", "#!/bin/sh\necho launched $*\n")
        for name, text in (("compare.py", COMPARE), ("probe.py", PROBE), ("tune.py", TUNE)):
            self.script(name, text)
        with open(os.path.join(self.modules, "torch.py"), "w"):
            pass

    def script(self, name, text):
        path = os.path.join(self.root, name)
        if os.path.lexists(path):
            os.remove(path)
        with open(path, "w") as file:
            file.write(text)
        os.chmod(path, 0o755)

    def remove(self, name):
        os.remove(os.path.join(self.root, name))

    def environment(self, **variables):
        path = os.pathsep.join((self.modules, os.environ.get("PYTHONPATH", "")))
        return {
            **os.environ,
            "PYTHONPATH": path,
            "PYTHONDONTWRITEBYTECODE": "1",
            "FAKE_FOLDER": self.folder,
            **variables,
        }

    def command(self, what="all", budget=60.0, simulate=True):
        command = [sys.executable, "-c", DRIVER, self.root, what, "--budget", str(budget), "--out", self.out]
        return command + (["--simulate"] if simulate else [])

    def start(self, what="all", budget=60.0, simulate=True, **variables):
        return subprocess.Popen(self.command(what, budget, simulate), env=self.environment(**variables), text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT)  # fmt: skip

    def text(self, name):
        with open(os.path.join(self.out, name)) as file:
            return file.read()

    def results(self):
        """All lines of the results file except one that was being written."""
        lines = self.text("results.jsonl").split("\n")[:-1]
        return [json.loads(line) for line in lines]

    def stages(self):
        return {result["name"]: result["verdict"] for result in self.results() if result["result"] == "stage"}
