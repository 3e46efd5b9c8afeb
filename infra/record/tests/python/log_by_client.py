"""Writes with MLflow's own client what a notebook would write, and reads it back. Prints one JSON object.

Usage: log_by_client.py TRACKING_URI MODEL_ONNX
"""

import json
import sys

import mlflow
import mlflow.onnx
import onnx
from mlflow import MlflowClient

uri, path = sys.argv[1:]
mlflow.set_tracking_uri(uri)
client = MlflowClient()
mlflow.set_experiment("python experiment")
with mlflow.start_run(run_name="from python") as active:
    mlflow.log_param("a", 1)
    mlflow.log_params({"b": 2})
    mlflow.log_metric("m", 0.1, step=1)
    mlflow.log_metric("m", 0.2, step=2)
    mlflow.set_tag("t", "v")
    mlflow.log_text("hello", "notes/hello.txt")
    info = mlflow.onnx.log_model(onnx.load(path), name="model", registered_model_name="PythonModel")
run_id = active.info.run_id
client.set_registered_model_alias("PythonModel", "candidate", 1)
client.update_model_version("PythonModel", 1, description="described")
client.set_model_version_tag("PythonModel", "1", "k", "v")
mlflow.pyfunc.load_model(info.model_uri)
mlflow.pyfunc.load_model("models:/PythonModel@candidate")
run = client.get_run(run_id)
version = client.get_model_version("PythonModel", "1")
logged = client.search_logged_models([run.info.experiment_id])
print(
    json.dumps(
        {
            "name": run.info.run_name,
            "status": run.info.status,
            "params": run.data.params,
            "metrics": run.data.metrics,
            "history": [m.value for m in client.get_metric_history(run_id, "m")],
            "tag": run.data.tags["t"],
            "folder": [f.path for f in client.list_artifacts(run_id)],
            "file": [(f.path, f.file_size) for f in client.list_artifacts(run_id, "notes")],
            "text": mlflow.artifacts.load_text(run.info.artifact_uri + "/notes/hello.txt"),
            "description": version.description,
            "version_tags": version.tags,
            "version_run_is_run": version.run_id == run_id,
            "logged": [m.name for m in logged],
            "logged_ready": [str(m.status) for m in logged],
            "outputs": len(run.outputs.model_outputs),
        }
    )
)
