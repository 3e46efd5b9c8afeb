"""CPU time of other programs that predict with the trees of `bench-forest`, in this process, on one thread.

    predict.py FOLDER PEER…

First one JSON line `{"peer": {"version": …, "difference": …, "prepared": …} | {"error": …}}`: the largest difference from
our probabilities over the rows in FOLDER, and the CPU seconds until it could predict. Then, for every line
`{"peer": …, "rows": …}` on standard input, one line with the microseconds of CPU time per row in calls of so many rows.
"""

import ctypes
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import lightgbm
import lleaves
import numpy as np
import onnxruntime
import sklearn
import tl2cgen
import treelite

from trees import Trees

# A measurement takes at least so many CPU seconds.
MEASURED = 0.05
# Rows that tl2cgen's C code is compared on and measured with; it goes row by row anyway.
CHECKED = 1000


def scikit_learn(trees, _):
    return sklearn.__version__, trees.scikit_learn().predict_proba


def onnx_runtime(trees, _):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(trees.onnx, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs() if output.name != "label"]
    return onnxruntime.__version__, lambda rows: np.hstack(session.run(names, {"X": rows}))


def gtil(trees, _):
    model = treelite.sklearn.import_model(trees.scikit_learn())
    return treelite.__version__, lambda rows: treelite.gtil.predict(model, rows, nthread=1)


def tl2cgen_from_c(trees, folder):
    folder = Path(folder) / "c"
    model = treelite.sklearn.import_model(trees.scikit_learn())
    parts = len(trees.nodes) // 4 + 1
    tl2cgen.generate_c_code(model, dirpath=str(folder), params={"parallel_comp": parts})
    (folder / "rows.c").write_text((Path(__file__).parent / "rows.c").read_text())
    library = folder / "rows.so"
    for source in sorted(folder.glob("*.c")):
        subprocess.run(["cc", "-O3", "-fPIC", "-c", source, "-o", source.with_suffix(".o")], check=True)
    subprocess.run(["cc", "-shared", *sorted(folder.glob("*.o")), "-o", library], check=True)
    predict_rows = ctypes.CDLL(str(library)).predict_rows

    def predict(rows):
        out = np.empty((len(rows), trees.n_classes))
        predict_rows(rows.ctypes, ctypes.c_size_t(len(rows)), out.ctypes)
        return out

    return tl2cgen.__version__, predict


def light_gbm(trees, _):
    model = lightgbm.Booster(model_str=trees.lightgbm())
    return lightgbm.__version__, lambda rows: model.predict(rows, num_threads=1)


def lleaves_from_python(trees, folder):
    path = Path(folder) / "lightgbm.txt"
    path.write_text(trees.lightgbm())
    model = lleaves.Model(model_file=str(path))
    model.compile()
    return "1.3", lambda rows: model.predict(rows, n_jobs=1)


PEERS = {
    "scikit-learn": scikit_learn, "onnxruntime": onnx_runtime, "treelite GTIL": gtil, "tl2cgen (from C)": tl2cgen_from_c,
    "LightGBM": light_gbm, "lleaves": lleaves_from_python,
}


def difference(trees, predict):
    rows, expected = trees.rows[:CHECKED], trees.proba[:CHECKED]
    got = np.asarray(predict(rows))
    return float(abs(expected[:, 1] - got if got.ndim == 1 else expected - got.reshape(expected.shape)).max())


def measure(trees, predict, per_call):
    """Microseconds of CPU time per row."""
    rows, calls = trees.rows, 0
    start = spent = time.process_time()
    while spent - start < MEASURED:
        at = calls * per_call % (len(rows) - per_call + 1)
        predict(rows[at:at + per_call])
        calls += 1
        spent = time.process_time()
    return (spent - start) * 1e6 / (calls * per_call)


def measure_c(trees, predict, _):
    """C code goes row by row, and one row alone is as fast as one of many."""
    return measure(trees, predict, CHECKED)


def main():
    # Libraries may write to standard output; answers go where it was.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    trees, predictors, report = Trees(sys.argv[1]), {}, {}
    for name in sys.argv[2:]:
        start = time.process_time() + sum(os.times()[2:4])
        try:
            version, predict = PEERS[name](trees, sys.argv[1])
        except (OSError, ValueError, RuntimeError, subprocess.CalledProcessError) as error:
            report[name] = {"error": str(error)}
            continue
        prepared = time.process_time() + sum(os.times()[2:4]) - start
        predictors[name] = predict
        report[name] = {"version": version, "difference": difference(trees, predict), "prepared": prepared}
    print(json.dumps(report), file=answers, flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        work = measure_c if PEERS[asked["peer"]] is tl2cgen_from_c else measure
        print(work(trees, predictors[asked["peer"]], asked["rows"]), file=answers, flush=True)


main()
