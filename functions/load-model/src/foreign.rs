//! Models that were logged to MLflow by other programs: their ONNX form becomes the native one.

use regrove_events::Artifact;
use regrove_forest::onnx::{self, Limits};
use regrove_host::Problem;
use regrove_mlflow::ModelVersion;
use regrove_mlflow::model_dir::MLMODEL_FILE;
use serde::Deserialize;
use serde_json::Value;

use crate::Ports;
use crate::candidate::{named, unsupported};

/// A version of another program, ready to be served.
#[derive(Debug)]
pub(crate) struct Foreign {
    /// The native form of its ONNX file.
    pub(crate) model: Artifact,
    /// Names of its columns, if its signature has them.
    pub(crate) columns: Option<Vec<String>>,
}

/// What is read of an `MLmodel` file.
#[derive(Debug, Deserialize)]
struct MlModel {
    flavors: Flavors,
    signature: Option<Signature>,
}

#[derive(Debug, Deserialize)]
struct Flavors {
    onnx: Option<OnnxFlavor>,
}

#[derive(Debug, Deserialize)]
struct OnnxFlavor {
    data: String,
}

#[derive(Debug, Deserialize)]
struct Signature {
    /// A list of columns or of tensors, as JSON in a string.
    inputs: Option<String>,
}

/// Fetches a version's ONNX form and turns it into the native one.
///
/// # Errors
/// 422 for a version that is no tree ensemble in ONNX; 503 when MLflow or the store does not answer.
pub(crate) async fn fetch(ports: &Ports, version: &ModelVersion) -> Result<Foreign, Problem> {
    let refused = |reason: &str| unsupported(&named(&version.name, &version.version.to_string()), reason);
    let mlmodel = ports.record.download(version, MLMODEL_FILE).await?;
    let mlmodel: MlModel = std::str::from_utf8(&mlmodel)
        .map_err(|error| error.to_string())
        .and_then(|text| serde_saphyr::from_str(text).map_err(|error| error.to_string()))
        .map_err(|error| refused(&format!("its `{MLMODEL_FILE}` cannot be read: {error}")))?;
    let Some(flavor) = mlmodel.flavors.onnx else {
        let advice = "log it with mlflow.onnx.log_model";
        return Err(refused(&format!("it has no `onnx` flavor, the one form that is not code: {advice}")));
    };
    let bytes = ports.record.download(version, &flavor.data).await?;
    let imported = tokio::task::spawn_blocking(move || onnx::import(&bytes, &Limits::default()))
        .await
        .map_err(|error| Problem::internal(&error))?
        .map_err(|error| refused(&error.to_string()))?;
    let columns = mlmodel
        .signature
        .and_then(|signature| columns(&signature.inputs?))
        .filter(|columns| columns.len() == imported.n_features());
    let model = ports.control.artifacts.put(imported.as_bytes().to_vec()).await?;
    Ok(Foreign { model, columns })
}

/// The names of a signature's columns; none if it has tensors, or columns without names.
fn columns(inputs: &str) -> Option<Vec<String>> {
    let inputs: Vec<Value> = serde_json::from_str(inputs).ok()?;
    inputs
        .iter()
        .map(|input| {
            input.get("type").filter(|kind| *kind != "tensor").and(input.get("name"))?.as_str().map(str::to_owned)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_have_names_and_tensors_have_none() {
        let named = r#"[{"type": "double", "name": "a", "required": true}, {"type": "float", "name": "b"}]"#;
        assert_eq!(columns(named), Some(vec!["a".to_owned(), "b".to_owned()]));
        let tensor = r#"[{"type": "tensor", "name": "X", "tensor-spec": {"dtype": "float32", "shape": [-1, 4]}}]"#;
        for none in [tensor, r#"[{"type": "double"}]"#, "{}", "not JSON"] {
            assert_eq!(columns(none), None, "{none}");
        }
    }

    #[test]
    fn an_mlmodel_of_python_is_read() {
        let text = "flavors:\n  onnx:\n    code: null\n    data: model.onnx\n    providers:\n    - CPUExecutionProvider\n  python_function:\n    loader_module: mlflow.onnx\nsignature:\n  inputs: '[{\"type\": \"double\", \"name\": \"a\"}]'\n  outputs: null\nutc_time_created: '2026-11-23 03:06:12.751627'\n";
        let read: MlModel = serde_saphyr::from_str(text).unwrap();
        assert_eq!(read.flavors.onnx.unwrap().data, "model.onnx");
        assert_eq!(columns(&read.signature.unwrap().inputs.unwrap()), Some(vec!["a".to_owned()]));
        let none: MlModel = serde_saphyr::from_str("flavors:\n  sklearn:\n    pickled_model: model.pkl\n").unwrap();
        assert!(none.flavors.onnx.is_none());
    }
}
