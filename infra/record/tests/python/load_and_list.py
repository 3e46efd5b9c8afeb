"""What a notebook does with a tracking server: find the run, load the model, predict. Prints one JSON object.

Usage: load_and_list.py TRACKING_URI MODEL_NAME EXPERIMENT JOB
"""

import json
import sys

import mlflow
import pandas as pd
from mlflow import MlflowClient

uri, name, experiment, job = sys.argv[1:]
mlflow.set_tracking_uri(uri)
client = MlflowClient()

columns = ["sepal length (cm)", "sepal width (cm)", "petal length (cm)", "petal width (cm)"]
rows = [[5.1, 3.5, 1.4, 0.2], [6.7, 3.0, 5.2, 2.3], [5.6, 2.7, 4.2, 1.3]]
# Other order, and a column that the model does not know.
frame = pd.DataFrame(rows, columns=columns)[columns[::-1]].assign(extra=1.0)


def predict(model_uri):
    answer = mlflow.pyfunc.load_model(model_uri).predict(frame)
    return {
        "labels": [int(label) for label in answer["label"]],
        "setosa": [float(value) for value in answer["probability_setosa"]],
        "columns": list(answer.columns),
    }


version = client.get_model_version_by_alias(name, "champion")
runs = mlflow.search_runs(experiment_names=[experiment], filter_string=f"tags.`regrove.job` = '{job}'")
run = client.get_run(runs["run_id"][0])
print(
    json.dumps(
        {
            "by_version": predict(f"models:/{name}/1"),
            "by_alias": predict(f"models:/{name}@champion"),
            "by_latest": predict(f"models:/{name}/latest"),
            "alias_version": int(version.version),
            "versions": [int(v.version) for v in client.search_model_versions(f"name='{name}'")],
            "runs": len(runs),
            "status": run.info.status,
            "params": run.data.params,
            "metrics": run.data.metrics,
            "datasets": [d.dataset.name for d in run.inputs.dataset_inputs],
            "history": [m.value for m in client.get_metric_history(run.info.run_id, "accuracy")],
            "run_artifacts": [f.path for f in client.list_artifacts(run.info.run_id)],
            "registered": sorted(m.name for m in client.search_registered_models()),
            "experiment_known": any(e.name == experiment for e in client.search_experiments()),
        }
    )
)
