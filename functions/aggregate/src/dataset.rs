//! From a data set's URI to a canonical frame: fetched, read, checked, hashed, in bounded memory.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use regrove_data::{
    Columns, CutPart, FRAME_LIMIT, FrameHead, Limits, Location, Policy, Prepared, Table, TargetKind, Wish, cut, fetch,
    prepare,
};
use regrove_events::Artifact;
use regrove_events::event::{DatasetRequest, JobFailed, RowPart};
use regrove_forest::datasets::Synthetic;
use regrove_forest::{Categories, Error, Frame, Label, RowParts};
use regrove_host::Problem;
use regrove_store::{Artifacts, artifact};
use serde_json::Value;
use tempfile::NamedTempFile;

use crate::FUNCTION;

/// What synthetic data sets' URIs start with.
pub const SYNTHETIC: &str = "synthetic:";

/// What may be read, and where it is kept meanwhile.
#[derive(Debug, Clone)]
pub struct DataAccess {
    /// Where data sets may come from.
    pub policy: Policy,
    /// How much of them is read.
    pub limits: Limits,
    /// Folder for what is fetched and written before it is stored.
    pub spool: PathBuf,
    /// Largest frame, or part of one, that is stored, in bytes.
    pub frame_bytes_max: u64,
}

/// A data set that can be learned from.
#[derive(Debug)]
pub struct Data {
    /// Rows.
    pub n_samples: u64,
    /// Feature columns in order.
    pub feature_names: Vec<String>,
    /// Classes in ascending order, with their rows; none for numbers.
    pub classes: Vec<(Label, u64)>,
    /// Texts of the encoded features.
    pub categories: Categories,
    frame: Content,
}

#[derive(Debug)]
enum Content {
    Bytes(Vec<u8>),
    File(Prepared),
}

/// Why there is no data set.
#[derive(Debug)]
pub enum Refused {
    /// It ends the job: asking again would give the same answer.
    Final(JobFailed),
    /// The broker is to ask again.
    Later(Problem),
}

impl Refused {
    /// The end of a job for this reason.
    pub fn because(problem: &str, reason: impl Into<String>) -> Self {
        Self::Final(JobFailed { step: FUNCTION.to_owned(), problem: problem.to_owned(), reason: reason.into() })
    }

    pub(crate) fn of(request: &DatasetRequest, error: &regrove_data::Error) -> Self {
        if error.is_retryable() {
            return Self::Later(Problem::unavailable("the data set", error));
        }
        let text = error.to_string();
        let named = if text.contains(&request.uri) { text } else { format!("data set `{}`: {text}", request.uri) };
        Self::because(error.kind(), named)
    }
}

/// Reads a data set for classes or for numbers. It will be stored in `n_parts` parts, each of which may be as large as a frame.
///
/// # Errors
/// [`Refused`].
pub async fn read(
    request: &DatasetRequest,
    kind: TargetKind,
    n_parts: u32,
    access: &DataAccess,
) -> Result<Data, Refused> {
    let frame_bytes_max = access.frame_bytes_max.saturating_mul(n_parts.into());
    if let Some(call) = request.uri.strip_prefix(SYNTHETIC) {
        return synthetic(request, call, frame_bytes_max).await;
    }
    let refused = |error: regrove_data::Error| Refused::of(request, &error);
    let location = Location::parse(&request.uri).map_err(refused)?;
    let columns = Columns::Except(&request.drop);
    let local =
        fetch(&location, &access.policy, &access.limits, &access.spool, &columns, &()).await.map_err(refused)?;
    let wish = Wish {
        target: request.target.clone(),
        kind,
        drop: request.drop.clone(),
        categorical: request.categorical.clone(),
        sample_weight: request.sample_weight.clone(),
        frame_bytes_max,
    };
    let (csv, limits, spool) = (request.csv.clone().unwrap_or_default(), access.limits, access.spool.clone());
    let prepared = tokio::task::spawn_blocking(move || {
        let table = Table::open(local.path(), &csv, &limits)?;
        prepare(&table, &wish, &spool, &())
    });
    let prepared = prepared.await.map_err(|error| Refused::Later(Problem::internal(&error)))?.map_err(refused)?;
    Ok(Data {
        n_samples: prepared.n_samples,
        feature_names: prepared.feature_names.clone(),
        classes: prepared.classes.clone(),
        categories: prepared.categories.clone(),
        frame: Content::File(prepared),
    })
}

async fn synthetic(request: &DatasetRequest, call: &str, frame_bytes_max: u64) -> Result<Data, Refused> {
    let wrong = |error: &dyn std::error::Error| {
        Refused::because("dataset-invalid", format!("data set `{}`: {error}", request.uri))
    };
    let set = Synthetic::parse(call).map_err(|error| wrong(&error))?;
    let (n_samples, n_features) = set.shape();
    let columns = n_samples.saturating_mul(n_features).saturating_mul(size_of::<f32>());
    if columns as u64 > frame_bytes_max {
        let too_large =
            regrove_data::Error::TooLarge { what: "bytes as a frame", max: frame_bytes_max, setting: FRAME_LIMIT };
        return Err(Refused::of(request, &too_large));
    }
    let made = tokio::task::spawn_blocking(move || set.frame()).await;
    let frame = made.map_err(|error| Refused::Later(Problem::internal(&error)))?.map_err(|error| wrong(&error))?;
    if let Some(column) = &request.sample_weight {
        let reason = format!("`sample_weight`: column `{column}` is not in the data set; synthetic rows all weigh 1");
        return Err(Refused::because("dataset-invalid", reason));
    }
    if request.target != frame.target_name() {
        let known = frame.target_name();
        return Err(Refused::because(
            "dataset-invalid",
            format!("column `{}` is not in the data set; its target is `{known}`", request.target),
        ));
    }
    data_of(&frame).map_err(|error| wrong(&error))
}

fn data_of(frame: &Frame) -> Result<Data, Error> {
    let mut classes: Vec<(Label, u64)> = frame.classes().iter().map(|label| (label.clone(), 0)).collect();
    for &index in frame.class_indexes() {
        if let Some((_, rows)) = classes.get_mut(index as usize) {
            *rows += 1;
        }
    }
    Ok(Data {
        n_samples: frame.n_samples() as u64,
        feature_names: frame.feature_names().to_vec(),
        classes,
        categories: frame.categories().clone(),
        frame: Content::Bytes(frame.to_bytes()?),
    })
}

/// A class label as JSON has it.
pub fn label(label: &Label) -> Value {
    serde_json::to_value(label).unwrap_or(Value::Null)
}

/// A data set cut into parts of its rows.
#[derive(Debug)]
pub struct CutData {
    /// What the whole frame would be as an artifact. It is not stored: nobody reads it whole.
    pub frame: Artifact,
    classes: Vec<Label>,
    parts: Vec<CutPart>,
}

/// How many rows a part has.
#[derive(Debug, Clone, Copy)]
pub struct PartRows<'a> {
    /// All of them.
    pub n_samples: u64,
    /// Those of each class; none where the target is a number.
    pub by_class: &'a [u64],
}

impl CutData {
    /// Rows of each part.
    pub fn rows(&self) -> impl Iterator<Item = PartRows<'_>> {
        self.parts.iter().map(|part| PartRows { n_samples: part.n_samples, by_class: &part.class_rows })
    }
}

/// Cuts a data set into parts.
///
/// # Errors
/// [`Refused`]: a part that is too large.
pub async fn cut_rows(
    data: &mut Data,
    request: &DatasetRequest,
    kind: TargetKind,
    parts: RowParts,
    access: &DataAccess,
) -> Result<CutData, Refused> {
    let refused = |error: regrove_data::Error| Refused::of(request, &error);
    let content = std::mem::replace(&mut data.frame, Content::Bytes(Vec::new()));
    let (spool, part_bytes_max) = (access.spool.clone(), access.frame_bytes_max);
    let classes: Vec<Label> = data.classes.iter().map(|(label, _)| label.clone()).collect();
    let (n_samples, names, categories) = (data.n_samples, data.feature_names.clone(), data.categories.clone());
    let (target, sample_weight) = (request.target.clone(), request.sample_weight.is_some());
    let work = move || {
        let (file, frame) = content.into_file(&spool)?;
        let classes_of = (kind == TargetKind::Classes).then_some(classes.as_slice());
        let head = FrameHead {
            n_samples,
            feature_names: &names,
            target: &target,
            classes: classes_of,
            categories: &categories,
            sample_weight,
        };
        let parts = cut(file.path(), &head, &parts, part_bytes_max, &spool)?;
        Ok(CutData { frame, classes, parts })
    };
    tokio::task::spawn_blocking(work).await.map_err(|error| Refused::Later(Problem::internal(&error)))?.map_err(refused)
}

impl Content {
    /// A file with the frame, and what it is as an artifact.
    fn into_file(self, spool: &Path) -> Result<(NamedTempFile, Artifact), regrove_data::Error> {
        match self {
            Self::File(prepared) => Ok((prepared.file, Artifact { sha256: prepared.sha256, bytes: prepared.bytes })),
            Self::Bytes(bytes) => {
                let wrong = |source| regrove_data::Error::Io { place: spool.display().to_string(), source };
                std::fs::create_dir_all(spool).map_err(wrong)?;
                let file = NamedTempFile::new_in(spool).map_err(wrong)?;
                file.as_file().write_all(&bytes).map_err(wrong)?;
                Ok((file, Artifact { sha256: artifact::sha256(&bytes), bytes: bytes.len() as u64 }))
            }
        }
    }
}

/// Stores the parts.
///
/// # Errors
/// What the store says.
pub async fn store_parts(data: CutData, artifacts: &Artifacts) -> Result<Vec<RowPart>, Problem> {
    let mut stored = Vec::new();
    for (index, part) in (0..).zip(data.parts) {
        let frame = Artifact { sha256: part.sha256, bytes: part.bytes };
        artifacts.put_file(&frame, part.path.to_path_buf()).await?;
        let missing = data.classes.iter().zip(&part.class_rows).filter(|(_, rows)| **rows == 0);
        let classes_missing = missing.map(|(class, _)| label(class)).collect();
        stored.push(RowPart { index, frame, n_samples: part.n_samples, classes_missing });
    }
    Ok(stored)
}

/// Stores the frame.
///
/// # Errors
/// What the store says.
pub async fn store(data: Data, artifacts: &Artifacts) -> Result<Artifact, Problem> {
    match data.frame {
        Content::Bytes(bytes) => Ok(artifacts.put(bytes).await?),
        Content::File(prepared) => {
            let artifact = Artifact { sha256: prepared.sha256.clone(), bytes: prepared.bytes };
            artifacts.put_file(&artifact, prepared.file.path().to_owned()).await?;
            Ok(artifact)
        }
    }
}

/// What people call a data set: the name asked for, or the last part of its URI without its endings.
pub fn name(request: &DatasetRequest) -> String {
    if let Some(name) = &request.name {
        return name.clone();
    }
    let tail = request.uri.strip_prefix(SYNTHETIC).unwrap_or(&request.uri);
    let path = tail.split(['?', '#']).next().unwrap_or(tail).trim_end_matches('/');
    let mut name = path.rsplit('/').next().unwrap_or(path);
    for ending in [".gz", ".zst", ".csv", ".tsv", ".parquet"] {
        name = name.strip_suffix(ending).unwrap_or(name);
    }
    name.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_data_set_is_called_by_the_last_part_of_its_uri() {
        for (uri, expected) in [
            ("file:///data/iris.csv", "iris"),
            ("https://example.com/a/iris.csv.gz?version=2", "iris"),
            ("s3://bucket/iris.parquet", "iris"),
            ("synthetic:make_classification?n_samples=9", "make_classification"),
        ] {
            assert_eq!(name(&DatasetRequest::new(uri, "target")), expected);
        }
        let named = DatasetRequest { name: Some("mine".to_owned()), ..DatasetRequest::new("file:///x.csv", "target") };
        assert_eq!(name(&named), "mine");
    }

    /// A name of a few bytes may ask for any number of rows.
    #[tokio::test]
    async fn a_synthetic_set_is_held_against_the_limit_before_it_is_made() {
        let read = async |uri: &str, bytes_max| {
            let request = DatasetRequest::new(uri, "target");
            let call = uri.strip_prefix(SYNTHETIC).unwrap();
            synthetic(&request, call, bytes_max).await
        };
        let uri = "synthetic:make_classification?n_samples=100&n_features=20";
        assert_eq!(read(uri, 1 << 20).await.unwrap().n_samples, 100);
        let Err(Refused::Final(refused)) = read(uri, 7_999).await else { panic!("100 rows of 20 float32 were made") };
        assert_eq!(refused.problem, "dataset-too-large");
        assert!(refused.reason.contains("--artifact-bytes-max"), "{}", refused.reason);
        let weighted = DatasetRequest { sample_weight: Some("w".to_owned()), ..DatasetRequest::new(uri, "target") };
        let call = uri.strip_prefix(SYNTHETIC).unwrap();
        let Err(Refused::Final(refused)) = synthetic(&weighted, call, 1 << 20).await else {
            panic!("no column weighs rows")
        };
        assert_eq!(refused.problem, "dataset-invalid");
        assert_eq!(refused.reason, "`sample_weight`: column `w` is not in the data set; synthetic rows all weigh 1");
        let beyond = "synthetic:make_regression?n_samples=999999999999999";
        assert!(matches!(read(beyond, 1 << 30).await, Err(Refused::Final(_))));
    }
}
