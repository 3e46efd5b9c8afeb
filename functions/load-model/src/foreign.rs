//! Models that were logged to MLflow by other programs: their ONNX form becomes the native one.

use axum::body::Bytes;
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
    /// Its bytes.
    pub(crate) bytes: Bytes,
    /// Names of its columns, if its signature has them.
    pub(crate) columns: Option<Vec<String>>,
}

/// What an `MLmodel` file says of a version's ONNX form.
#[derive(Debug, PartialEq, Eq)]
pub struct Described {
    /// The file, below the version's root.
    pub file: String,
    /// Names of the model's columns, if its signature has them.
    pub columns: Option<Vec<String>>,
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
    let Described { file, columns } = described(&mlmodel).map_err(|reason| refused(&reason))?;
    let bytes = ports.record.download(version, &file).await?;
    let imported = tokio::task::spawn_blocking(move || onnx::import(&bytes, &Limits::default()))
        .await
        .map_err(|error| Problem::internal(&error))?
        .map_err(|error| refused(&error.to_string()))?;
    let columns = columns.filter(|columns| columns.len() == imported.n_features());
    let bytes = Bytes::copy_from_slice(imported.as_bytes());
    // It may be there, and damaged.
    let model = ports.control.artifacts.replace(bytes.clone()).await?;
    Ok(Foreign { model, bytes, columns })
}

/// Reads an `MLmodel` file. Pure: this is what a fuzz target feeds.
///
/// # Errors
/// Why it is none, or why the model cannot be served.
pub fn described(mlmodel: &[u8]) -> Result<Described, String> {
    let mlmodel: MlModel = std::str::from_utf8(mlmodel)
        .map_err(|error| error.to_string())
        .and_then(|text| serde_saphyr::from_str(text).map_err(|error| error.to_string()))
        .map_err(|error| format!("its `{MLMODEL_FILE}` cannot be read: {error}"))?;
    let Some(flavor) = mlmodel.flavors.onnx else {
        let advice = "log it with mlflow.onnx.log_model";
        return Err(format!("it has no `onnx` flavor, the one form that is not code: {advice}"));
    };
    let columns = mlmodel.signature.and_then(|signature| columns(&signature.inputs?));
    Ok(Described { file: flavor.data, columns })
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
        let columns = Some(vec!["a".to_owned()]);
        assert_eq!(described(text.as_bytes()), Ok(Described { file: "model.onnx".to_owned(), columns }));
        let none = described(b"flavors:\n  sklearn:\n    pickled_model: model.pkl\n").unwrap_err();
        assert!(none.starts_with("it has no `onnx` flavor"), "{none}");
        let broken = described(b"flavors: [").unwrap_err();
        assert!(broken.starts_with("its `MLmodel` cannot be read: "), "{broken}");
    }
}
