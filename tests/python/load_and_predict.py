"""What a notebook does with a registered model: load it by its URI, predict. Prints one JSON object.

Usage: load_and_predict.py TRACKING_URI MODEL_URI ROWS_JSON_FILE
"""

import json
import sys

import mlflow
import pandas as pd

tracking_uri, model_uri, rows = sys.argv[1:]
mlflow.set_tracking_uri(tracking_uri)
model = mlflow.pyfunc.load_model(model_uri)
columns = model.metadata.get_input_schema().input_names()
with open(rows, encoding="utf-8") as file:
    frame = pd.DataFrame(json.load(file), columns=columns)
# Columns of categories hold codes: the k-th category is k.
categories = (model.metadata.metadata or {}).get("categories", {})
for name, texts in categories.items():
    codes = pd.Series(pd.Categorical(frame[name], categories=texts).codes, dtype=float)
    frame[name] = codes.where(codes >= 0)
answer = model.predict(frame)
probabilities = [name for name in answer.columns if name.startswith("probability_")]
print(
    json.dumps(
        {
            "columns": columns,
            "categories": categories,
            "classes": [name.removeprefix("probability_") for name in probabilities],
            "labels": answer["label"].tolist() if "label" in answer else None,
            "predictions": answer["prediction"].tolist() if "prediction" in answer else None,
            "probabilities": answer[probabilities].to_numpy(dtype=float).tolist(),
            "example": None if model.input_example is None else len(model.input_example),
            "modules": sorted(name for name in sys.modules if name.startswith("regrove")),
        }
    )
)
