"""Writes what ONNX Runtime answers for models and rows.

Usage: answer_onnx.py FOLDER N_FEATURES NAME...
Per name: reads NAME.onnx and NAME.rows, float32 row-major; writes NAME.json with labels and numbers, which are
probabilities or values, `(n_rows, n)`, null for NaN.
"""

import json
import pathlib
import sys

import numpy as np
import onnxruntime

onnxruntime.set_default_logger_severity(4)
KINDS = {"tensor(float)": np.float32, "tensor(double)": np.float64, "tensor(int64)": np.int64}


def answer(folder, name, n_features):
    rows = np.frombuffer((folder / f"{name}.rows").read_bytes(), dtype=np.float32).reshape(-1, n_features)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(folder / f"{name}.onnx"), options, providers=["CPUExecutionProvider"])
    inputs = session.get_inputs()
    if len(inputs) == 1:
        feed = {inputs[0].name: rows.astype(KINDS[inputs[0].type])}
    else:
        feed = {one.name: rows[:, [at]].astype(KINDS[one.type]) for at, one in enumerate(inputs)}
    labels, numbers = None, []
    for output in session.run(None, feed):
        if isinstance(output, list):
            numbers.append(np.array([list(row.values()) for row in output]))
        elif output.dtype in (np.int64, object):
            labels = output.reshape(-1).tolist()
        else:
            numbers.append(output.reshape(len(rows), -1))
    # JSON knows no NaN.
    numbers = [[None if np.isnan(one) else one for one in row] for row in np.concatenate(numbers, axis=1).astype(float)]
    case = {"n_rows": len(rows), "n_features": n_features, "labels": labels, "numbers": numbers}
    (folder / f"{name}.json").write_text(json.dumps(case))


if __name__ == "__main__":
    for one in sys.argv[3:]:
        answer(pathlib.Path(sys.argv[1]), one, int(sys.argv[2]))
