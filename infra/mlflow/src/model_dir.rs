//! The directory that makes a forest a first-class MLflow model: Python loads it with `mlflow.pyfunc.load_model` and
//! nothing of ours installed, and our functions read the native form beside it.
//!
//! The layout is that of `mlflow.onnx.log_model` (MLflow 3.17). The bytes depend on the arguments only, so an upload
//! that is repeated after a crash writes the same files again.

use std::collections::BTreeMap;
use std::path::PathBuf;

use bytes::Bytes;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::error::Error;

/// Name of the native form in the directory.
pub const NATIVE_FILE: &str = "model.rgf";
/// Name of the ONNX form in the directory.
pub const ONNX_FILE: &str = "model.onnx";
/// Name of the description that MLflow reads first.
pub const MLMODEL_FILE: &str = "MLmodel";
/// Name of our flavor in the description; Python ignores it.
pub const FLAVOR: &str = "regrove";

/// Version of the `onnx` package with which the ONNX flavor says that it was written.
const ONNX_PACKAGE_VERSION: &str = "1.16.0";
/// Python for the environments that `mlflow models serve` builds.
const PYTHON_VERSION: &str = "3.11.7";
/// Lower bounds only: the model is data, so any newer version reads it, and an exact pin would make each load with
/// another version warn.
const REQUIREMENTS: [&str; 5] = ["mlflow>=2.22", "numpy", "onnx", "onnxruntime>=1.20", "pandas"];

/// The content of a file: in memory, or on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// The bytes themselves.
    Bytes(Bytes),
    /// A local file, streamed when it is sent.
    Path(PathBuf),
}

/// A file of a model directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelFile {
    /// Path below the directory, with `/`.
    pub name: String,
    /// Its content.
    pub content: Content,
}

impl ModelFile {
    /// A file from bytes.
    pub fn new(name: impl Into<String>, bytes: impl Into<Bytes>) -> Self {
        Self { name: name.into(), content: Content::Bytes(bytes.into()) }
    }
}

/// What a model answers, and so its ONNX graph's outputs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answers {
    /// Classes named by whole numbers, in the order of the probability columns; the `label` column is `long`.
    IntLabels(Vec<i64>),
    /// Classes named by texts; the `label` column is `string`.
    TextLabels(Vec<String>),
    /// A number: the column `prediction`.
    Numbers,
}

impl Answers {
    /// Names of the classes.
    fn classes(&self) -> Vec<String> {
        match self {
            Self::IntLabels(labels) => labels.iter().map(i64::to_string).collect(),
            Self::TextLabels(labels) => labels.clone(),
            Self::Numbers => Vec::new(),
        }
    }
}

/// What a forest says about itself.
#[derive(Debug, Clone)]
pub struct ModelDescription {
    /// Input columns, in order.
    pub feature_names: Vec<String>,
    /// The texts of the columns that hold codes, by name: value k stands for the k-th text.
    pub categories: BTreeMap<String, Vec<String>>,
    /// The ONNX graph has the outputs `label` and `probability_<class>` in the order of the classes, or `prediction`.
    pub answers: Answers,
    /// The ONNX form: input `X` of shape `(n, n_features)` in float32, one output per column of the signature.
    pub onnx: Bytes,
    /// The native form, stored as `model.rgf`.
    pub native: Bytes,
    /// Rows of finite numbers, each of `n_features`, that show what an input looks like. At least one.
    pub input_example: Vec<Vec<f64>>,
    /// The MLflow version that the description claims to be written by, for example `3.17.2`.
    pub mlflow_version: String,
    /// When the model was made. Take it from the job, not from the clock: repeating gives the same bytes then.
    pub utc_time: Timestamp,
    /// Further files, for example a report.
    pub extra_files: Vec<ModelFile>,
}

/// Where the directory will stand in MLflow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    /// The run that makes the model.
    pub run_id: String,
    /// The logged model (3.x), absent on 2.x.
    pub model_id: Option<String>,
    /// Artifact root of the logged model (3.x), or the folder below the run's root (2.x).
    pub artifact_path: String,
}

/// SHA-256 of the native form, lower-case hex: the identity of the model's content.
pub fn native_sha256(description: &ModelDescription) -> String {
    regrove_hash::sha256(&description.native)
}

/// All files of the directory, `MLmodel` last: a directory whose upload broke off is not loadable by accident.
///
/// # Errors
/// [`Error::InvalidValue`] for no features, no classes, an example row of another length or with NaN or infinity, and
/// for names that YAML or MLflow's schema cannot hold (empty, control characters, duplicates).
pub fn build(description: &ModelDescription, placement: &Placement) -> Result<Vec<ModelFile>, Error> {
    check(description)?;
    let example = json!({
        "columns": description.feature_names,
        "data": description.input_example,
    });
    let serving = json!({ "dataframe_split": example });
    let mut files = vec![
        ModelFile::new(ONNX_FILE, description.onnx.clone()),
        ModelFile::new(NATIVE_FILE, description.native.clone()),
        ModelFile::new("requirements.txt", requirements()),
        ModelFile::new("conda.yaml", conda()),
        ModelFile::new("python_env.yaml", python_env()),
        ModelFile::new("input_example.json", example.to_string()),
        ModelFile::new("serving_input_example.json", serving.to_string()),
    ];
    files.extend(description.extra_files.iter().cloned());
    let size: u64 = files.iter().map(size_of).sum::<Result<u64, Error>>()?;
    // JSON is YAML: MLflow reads it, and no quoting rule can change a name.
    let mlmodel = format!("{:#}\n", mlmodel(description, placement, size));
    files.push(ModelFile::new(MLMODEL_FILE, mlmodel));
    Ok(files)
}

/// The flavors of the description, as 2.x wants them noted on the run.
pub fn flavors(description: &ModelDescription) -> Value {
    json!({
        "onnx": {
            "code": null,
            "data": ONNX_FILE,
            "onnx_session_options": null,
            "onnx_version": ONNX_PACKAGE_VERSION,
            // With the default list onnxruntime warns about missing CUDA at each load.
            "providers": ["CPUExecutionProvider"],
        },
        "python_function": {
            "data": ONNX_FILE,
            "env": {"conda": "conda.yaml", "virtualenv": "python_env.yaml"},
            "loader_module": "mlflow.onnx",
            "python_version": PYTHON_VERSION,
        },
        FLAVOR: {"data": NATIVE_FILE, "sha256": native_sha256(description)},
    })
}

/// `2026-11-23 03:06:12.751627`, the way MLflow writes times.
pub(crate) fn mlflow_time(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M:%S.%6f").to_string()
}

fn mlmodel(description: &ModelDescription, placement: &Placement, size: u64) -> Value {
    let uuid = placement.model_id.as_ref().unwrap_or(&placement.run_id);
    let mut value = json!({
        "artifact_path": placement.artifact_path,
        "flavors": flavors(description),
        "is_signature_from_type_hint": false,
        "mlflow_version": description.mlflow_version,
        "model_size_bytes": size,
        "model_uuid": uuid,
        "prompts": null,
        "run_id": placement.run_id,
        "saved_input_example_info": {
            "artifact_path": "input_example.json",
            "pandas_orient": "split",
            "serving_input_path": "serving_input_example.json",
            "type": "dataframe",
        },
        "signature": signature(description),
        "type_hint_from_example": false,
        "utc_time_created": mlflow_time(description.utc_time),
    });
    if let (Some(model_id), Some(fields)) = (&placement.model_id, value.as_object_mut()) {
        fields.insert("model_id".to_owned(), model_id.as_str().into());
    }
    if let (false, Some(fields)) = (description.categories.is_empty(), value.as_object_mut()) {
        // MLflow's schema has no categories; what it calls metadata is what the one who logs a model wants to say.
        fields.insert("metadata".to_owned(), json!({"categories": description.categories}));
    }
    value
}

/// Named `double` columns: the one form that takes data frames of any number type, in any column order. Columns of
/// categories hold their codes: ONNX takes one tensor of numbers.
fn signature(description: &ModelDescription) -> Value {
    let column = |kind: &str, name: &str| json!({"type": kind, "name": name, "required": true});
    let inputs: Vec<Value> = description.feature_names.iter().map(|name| column("double", name)).collect();
    let first = match description.answers {
        Answers::IntLabels(_) => column("long", "label"),
        Answers::TextLabels(_) => column("string", "label"),
        Answers::Numbers => column("float", "prediction"),
    };
    let mut outputs = vec![first];
    outputs.extend(description.answers.classes().iter().map(|class| column("float", &format!("probability_{class}"))));
    json!({
        "inputs": Value::from(inputs).to_string(),
        "outputs": Value::from(outputs).to_string(),
        "params": null,
    })
}

fn requirements() -> String {
    REQUIREMENTS.join("\n") + "\n"
}

fn conda() -> String {
    let pip = REQUIREMENTS.join("\n  - ");
    format!(
        "channels:\n- conda-forge\ndependencies:\n- python={PYTHON_VERSION}\n- pip\n- pip:\n  - {pip}\nname: mlflow-env\n"
    )
}

fn python_env() -> String {
    format!(
        "python: {PYTHON_VERSION}\nbuild_dependencies:\n- pip\n- setuptools\n- wheel\ndependencies:\n- -r requirements.txt\n"
    )
}

fn size_of(file: &ModelFile) -> Result<u64, Error> {
    match &file.content {
        Content::Bytes(bytes) => Ok(u64::try_from(bytes.len()).unwrap_or(u64::MAX)),
        Content::Path(path) => std::fs::metadata(path)
            .map(|metadata| metadata.len())
            .map_err(|source| Error::LocalFile { path: path.clone(), source }),
    }
}

fn check(description: &ModelDescription) -> Result<(), Error> {
    check_names("feature name", &description.feature_names)?;
    if description.answers != Answers::Numbers {
        check_names("class", &description.answers.classes())?;
    }
    let width = description.feature_names.len();
    let example =
        |reason, row: &[f64]| Error::InvalidValue { field: "input example", value: format!("{row:?}"), reason };
    if description.input_example.is_empty() {
        return Err(example("there must be at least one row", &[]));
    }
    for row in &description.input_example {
        if row.len() != width {
            return Err(example("a row must have one number per feature", row));
        }
        if row.iter().any(|number| !number.is_finite()) {
            return Err(example("JSON holds finite numbers only", row));
        }
    }
    Ok(())
}

fn check_names(field: &'static str, names: &[String]) -> Result<(), Error> {
    let invalid = |value: &str, reason| Error::InvalidValue { field, value: value.to_owned(), reason };
    if names.is_empty() {
        return Err(invalid("", "there must be at least one"));
    }
    let mut seen = std::collections::BTreeSet::new();
    for name in names {
        if name.is_empty() || name.chars().any(char::is_control) {
            return Err(invalid(name, "it must not be empty or hold control characters"));
        }
        if !seen.insert(name) {
            return Err(invalid(name, "it must not appear twice"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn iris() -> ModelDescription {
        ModelDescription {
            feature_names: vec!["a (cm)".to_owned(), "b: \"c\"".to_owned()],
            categories: BTreeMap::new(),
            answers: Answers::IntLabels(vec![0, 1]),
            onnx: Bytes::from_static(b"onnx"),
            native: Bytes::from_static(b"abc"),
            input_example: vec![vec![5.1, 3.5]],
            mlflow_version: "3.17.2".to_owned(),
            utc_time: "2026-11-23T03:06:12.751627Z".parse().unwrap(),
            extra_files: Vec::new(),
        }
    }

    fn placement() -> Placement {
        Placement {
            run_id: "0".repeat(32),
            model_id: Some("m-1".to_owned()),
            artifact_path: "mlflow-artifacts:/1/models/m-1/artifacts".to_owned(),
        }
    }

    fn text(files: &[ModelFile], name: &str) -> String {
        let file = files.iter().find(|file| file.name == name).unwrap();
        match &file.content {
            Content::Bytes(bytes) => String::from_utf8(bytes.to_vec()).unwrap(),
            Content::Path(_) => panic!("{name} is in memory"),
        }
    }

    #[test]
    fn the_description_names_signature_flavors_and_identity() {
        let files = build(&iris(), &placement()).unwrap();
        let model: Value = serde_json::from_str(&text(&files, MLMODEL_FILE)).unwrap();
        assert_eq!(model["model_id"], "m-1");
        assert_eq!(model["utc_time_created"], "2026-11-23 03:06:12.751627");
        assert_eq!(model["flavors"]["onnx"]["providers"], json!(["CPUExecutionProvider"]));
        assert_eq!(
            model["flavors"]["regrove"]["sha256"],
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        let inputs: Value = serde_json::from_str(model["signature"]["inputs"].as_str().unwrap()).unwrap();
        assert_eq!(inputs[1], json!({"type": "double", "name": "b: \"c\"", "required": true}));
        let outputs: Value = serde_json::from_str(model["signature"]["outputs"].as_str().unwrap()).unwrap();
        assert_eq!(outputs[0]["type"], "long");
        assert_eq!(outputs[2]["name"], "probability_1");
        assert_eq!(files.last().unwrap().name, MLMODEL_FILE);
    }

    #[test]
    fn the_same_arguments_give_the_same_bytes() {
        assert_eq!(build(&iris(), &placement()).unwrap(), build(&iris(), &placement()).unwrap());
    }

    #[test]
    fn categories_are_metadata_and_their_columns_hold_codes() {
        let plain: Value = serde_json::from_str(&text(&build(&iris(), &placement()).unwrap(), MLMODEL_FILE)).unwrap();
        assert!(plain.get("metadata").is_none());
        let mut description = iris();
        description.categories = [("a (cm)".to_owned(), vec!["large".to_owned(), "small".to_owned()])].into();
        let files = build(&description, &placement()).unwrap();
        let model: Value = serde_json::from_str(&text(&files, MLMODEL_FILE)).unwrap();
        assert_eq!(model["metadata"], json!({"categories": {"a (cm)": ["large", "small"]}}));
        assert_eq!(model["signature"], plain["signature"]);
    }

    #[test]
    fn text_classes_make_a_text_label() {
        let mut description = iris();
        description.answers = Answers::TextLabels(vec!["x".to_owned(), "y".to_owned()]);
        let files = build(&description, &placement()).unwrap();
        assert!(text(&files, MLMODEL_FILE).contains(r#"\"type\":\"string\""#));
    }

    #[test]
    fn the_serving_example_wraps_the_example() {
        let files = build(&iris(), &placement()).unwrap();
        let example: Value = serde_json::from_str(&text(&files, "input_example.json")).unwrap();
        let serving: Value = serde_json::from_str(&text(&files, "serving_input_example.json")).unwrap();
        assert_eq!(serving["dataframe_split"], example);
        assert_eq!(example["data"], json!([[5.1, 3.5]]));
    }

    #[test]
    fn on_2x_there_is_no_model_id_and_the_run_names_the_model() {
        let run = Placement { model_id: None, artifact_path: "model".to_owned(), ..placement() };
        let files = build(&iris(), &run).unwrap();
        let model: Value = serde_json::from_str(&text(&files, MLMODEL_FILE)).unwrap();
        assert!(model.get("model_id").is_none());
        assert_eq!(model["model_uuid"], "0".repeat(32));
    }

    #[test]
    fn bad_descriptions_are_refused_by_name() {
        let refused = |change: fn(&mut ModelDescription)| {
            let mut description = iris();
            change(&mut description);
            build(&description, &placement()).unwrap_err().to_string()
        };
        assert!(refused(|d| d.feature_names.clear()).contains("feature name"));
        assert!(refused(|d| d.feature_names[1] = "a (cm)".to_owned()).contains("twice"));
        assert!(refused(|d| d.feature_names[1] = "a\u{85}".to_owned()).contains("control"));
        assert!(refused(|d| d.answers = Answers::IntLabels(vec![])).contains("class"));
        assert!(refused(|d| d.input_example.clear()).contains("at least one row"));
        assert!(refused(|d| d.input_example[0].truncate(1)).contains("per feature"));
        assert!(refused(|d| d.input_example[0][0] = f64::NAN).contains("finite"));
    }
}
