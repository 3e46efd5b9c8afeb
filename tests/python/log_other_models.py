"""Models of scikit-learn, XGBoost and LightGBM, logged and registered as their users do it, with nothing of ours: converted to
ONNX, mlflow.onnx.log_model. Prints one JSON object: rows, the same with holes, and per registered model what ONNX Runtime says
of them: of the rows with holes where the model's name says so.

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
two = (x[:, 0] > x[:, 3]).astype(int)
words = np.array(["no", "perhaps", "yes"])


def with_holes(numbers):
    return np.where(rng.random_sample(numbers.shape) < 0.2, np.float32(np.nan), numbers)


holes, rows_with_holes = with_holes(x), with_holes(rows)


def by_skl2onnx(model):
    return skl2onnx.to_onnx(model, x[:1])


def by_onnxmltools(convert):
    return lambda model: convert(model, initial_types=[("input", FloatTensorType([None, N_FEATURES]))])


def said_by_onnxruntime(onnx, rows):
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
    return said_by_onnxruntime(onnx, rows_with_holes if name.endswith("Holes") else rows)


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
boosted = {**small, "n_jobs": 1}
for kind, seen, target in [("Two", x, two), ("TwoTexts", x, words[two]), ("Texts", x, words[classes]), ("Holes", holes, two)]:
    # XGBoost takes whole numbers only.
    if "Texts" not in kind:
        convert = by_onnxmltools(onnxmltools.convert_xgboost)
        trees[f"Xgboost{kind}"] = (xgboost.XGBClassifier(**boosted), (seen, target), convert)
    convert = by_onnxmltools(onnxmltools.convert_lightgbm)
    trees[f"Lightgbm{kind}"] = (lightgbm.LGBMClassifier(**boosted, verbose=-1), (seen, target), convert)
    # skl2onnx leaves out where a forest sends missing values: ONNX Runtime's answers are not scikit-learn's then.
    trees[f"Sklearn{kind}"] = (ensemble.RandomForestClassifier(**small), (seen, target), by_skl2onnx)
# A name that paths cannot have as it is, and a regressor of two targets.
trees["my model (v2)"] = (ensemble.RandomForestClassifier(**small), classes, by_skl2onnx)
trees["SeveralTargets"] = (ensemble.RandomForestRegressor(**small), np.stack([values, -values], axis=1), by_skl2onnx)
said = {}
for name, (model, y, convert) in trees.items():
    # Columns by name for some, as pandas has them; a tensor without names for the others.
    example = named if name.endswith("Classifier") else x
    seen, y = y if isinstance(y, tuple) else (x, y)
    said[name] = register(name, convert(model.fit(seen, y)), infer_signature(example, y))
linear = by_skl2onnx(linear_model.LogisticRegression().fit(x, classes))
register("Linear", linear, infer_signature(x, classes))

client = mlflow.MlflowClient()
client.set_registered_model_alias("SklearnClassifier", "champion", 1)
# A second version, for the alias to move to.
second = ensemble.RandomForestClassifier(**{**small, "random_state": 1}).fit(x, classes)
said["SklearnClassifier 2"] = register("SklearnClassifier", by_skl2onnx(second), infer_signature(named, classes))
cells = np.where(np.isnan(rows_with_holes), None, rows_with_holes.astype(float)).tolist()
print(json.dumps({"rows": rows.astype(float).tolist(), "holes": cells, "columns": COLUMNS, "said": said}))
