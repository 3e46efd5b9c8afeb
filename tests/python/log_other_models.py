"""Models of scikit-learn, XGBoost and LightGBM, logged and registered as their users do it, with nothing of ours: converted to
ONNX, mlflow.onnx.log_model. Prints one JSON object: rows, and per registered model what ONNX Runtime says of them.

Usage: log_other_models.py TRACKING_URI
"""

import json
import sys

import lightgbm
import mlflow
import numpy as np
import onnxmltools
import onnxruntime
import pandas as pd
import skl2onnx
import xgboost
from mlflow.models import infer_signature
from onnxmltools.convert.common.data_types import FloatTensorType
from sklearn import ensemble, linear_model

N_FEATURES = 5
COLUMNS = [f"reading {at}" for at in range(N_FEATURES)]

mlflow.set_tracking_uri(sys.argv[1])
mlflow.set_experiment("other programs")
rng = np.random.RandomState(11)
x = rng.normal(size=(400, N_FEATURES)).astype(np.float32)
classes = (x[:, 0] + x[:, 1] * x[:, 2] > 0).astype(int) + (x[:, 3] > 1)
values = 3 * x[:, 0] + x[:, 4] ** 2
named = pd.DataFrame(x, columns=COLUMNS)
rows = rng.normal(size=(60, N_FEATURES)).astype(np.float32)


def by_skl2onnx(model):
    return skl2onnx.to_onnx(model, x[:1])


def by_onnxmltools(convert):
    return lambda model: convert(model, initial_types=[("input", FloatTensorType([None, N_FEATURES]))])


def said_by_onnxruntime(onnx):
    session = onnxruntime.InferenceSession(onnx.SerializeToString(), providers=["CPUExecutionProvider"])
    answers = session.run(None, {session.get_inputs()[0].name: rows})
    if len(answers) == 1:
        return {"predictions": answers[0].ravel().astype(float).tolist()}
    labels, probabilities = answers
    if isinstance(probabilities, list):
        probabilities = [[row[name] for name in sorted(row)] for row in probabilities]
    return {"predictions": labels.tolist(), "probabilities": np.asarray(probabilities, dtype=float).tolist()}


def register(name, onnx, signature):
    with mlflow.start_run(run_name=name):
        # Without the requirements MLflow starts an interpreter per model to work them out.
        mlflow.onnx.log_model(
            onnx, name="model", registered_model_name=name, signature=signature, pip_requirements=["onnxruntime"]
        )
    return said_by_onnxruntime(onnx)


small = {"n_estimators": 12, "max_depth": 4, "random_state": 0}
trees = {
    "SklearnClassifier": (ensemble.RandomForestClassifier(**small), classes, by_skl2onnx),
    "SklearnRegressor": (ensemble.GradientBoostingRegressor(**small), values, by_skl2onnx),
    "XgboostClassifier": (xgboost.XGBClassifier(**small, n_jobs=1), classes, by_onnxmltools(onnxmltools.convert_xgboost)),
    "XgboostRegressor": (xgboost.XGBRegressor(**small, n_jobs=1), values, by_onnxmltools(onnxmltools.convert_xgboost)),
    "LightgbmClassifier": (
        lightgbm.LGBMClassifier(**small, n_jobs=1, verbose=-1),
        classes,
        by_onnxmltools(onnxmltools.convert_lightgbm),
    ),
    "LightgbmRegressor": (
        lightgbm.LGBMRegressor(**small, n_jobs=1, verbose=-1),
        values,
        by_onnxmltools(onnxmltools.convert_lightgbm),
    ),
}
said = {}
for name, (model, y, convert) in trees.items():
    # Columns by name for some, as pandas has them; a tensor without names for the others.
    example = named if name.endswith("Classifier") else x
    said[name] = register(name, convert(model.fit(x, y)), infer_signature(example, y))
linear = by_skl2onnx(linear_model.LogisticRegression().fit(x, classes))
register("Linear", linear, infer_signature(x, classes))

client = mlflow.MlflowClient()
client.set_registered_model_alias("SklearnClassifier", "champion", 1)
# A second version, for the alias to move to.
second = ensemble.RandomForestClassifier(**{**small, "random_state": 1}).fit(x, classes)
said["SklearnClassifier 2"] = register("SklearnClassifier", by_skl2onnx(second), infer_signature(named, classes))
print(json.dumps({"rows": rows.astype(float).tolist(), "columns": COLUMNS, "said": said}))
