//! Artifacts: plain files below one folder, that appear whole or not at all.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use axum::Json;
use axum::body::Body;
use axum::extract::{Path as UrlPath, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::io::AsyncWriteExt;
use tokio_stream::StreamExt;
use tokio_util::io::ReaderStream;

use crate::error::Refusal;
use crate::request::{Answer, Ask, done, put_items};
use crate::store::Store;

/// Largest artifact that is taken, in bytes.
pub const ARTIFACT_BYTES_MAX: u64 = 4 * 1024 * 1024 * 1024;

/// Longest name of one file or folder, in bytes: what file systems take.
const NAME_BYTES_MAX: usize = 255;

#[derive(Deserialize)]
pub(crate) struct List {
    #[serde(default)]
    path: String,
}

pub(crate) async fn put(
    State(store): State<Store>,
    UrlPath(path): UrlPath<String>,
    body: Body,
) -> Result<StatusCode, Refusal> {
    let target = below(store.files(), &path)?;
    if target == store.files() {
        return Err(invalid_path());
    }
    let growing = store.incoming().join(uuid::Uuid::new_v4().simple().to_string());
    let written = match receive(&growing, body).await {
        Ok(()) => place(&growing, &target).await,
        Err(refusal) => Err(refusal),
    };
    if written.is_err() {
        // What cannot be removed now is removed at the next start.
        let _ = tokio::fs::remove_file(&growing).await;
    }
    written.map(|()| StatusCode::OK)
}

async fn receive(growing: &Path, body: Body) -> Result<(), Refusal> {
    let disk = |error: std::io::Error| Refusal::disk("writing an artifact", &error);
    let mut file = tokio::fs::File::create(growing).await.map_err(disk)?;
    let mut chunks = body.into_data_stream();
    let mut size: u64 = 0;
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|error| Refusal::bad_request(format!("the upload broke off: {error}")))?;
        size = size.saturating_add(u64::try_from(chunk.len()).unwrap_or(u64::MAX));
        if size > ARTIFACT_BYTES_MAX {
            return Err(Refusal::too_large(format!("the artifact is bigger than {ARTIFACT_BYTES_MAX} bytes")));
        }
        file.write_all(&chunk).await.map_err(disk)?;
    }
    file.flush().await.map_err(disk)
}

async fn place(growing: &Path, target: &Path) -> Result<(), Refusal> {
    let sorted = |error: std::io::Error| match error.kind() {
        // A folder where a file is wanted, or the other way round.
        ErrorKind::IsADirectory | ErrorKind::NotADirectory | ErrorKind::AlreadyExists => {
            Refusal::invalid("Invalid path: a file and a folder cannot have the same name")
        }
        _ => Refusal::disk("placing an artifact", &error),
    };
    if let Some(folder) = target.parent() {
        tokio::fs::create_dir_all(folder).await.map_err(sorted)?;
    }
    tokio::fs::rename(growing, target).await.map_err(sorted)
}

pub(crate) async fn get(State(store): State<Store>, UrlPath(path): UrlPath<String>) -> Result<Response, Refusal> {
    let target = below(store.files(), &path)?;
    let missing = || Refusal::not_found(format!("No such artifact: '{path}'"));
    let disk = |error: std::io::Error| match error.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory => missing(),
        _ => Refusal::disk("reading an artifact", &error),
    };
    let file = tokio::fs::File::open(&target).await.map_err(disk)?;
    let metadata = file.metadata().await.map_err(disk)?;
    if metadata.is_dir() {
        return Err(Refusal::invalid(format!("Artifact path refers to a directory, not a file: '{path}'")));
    }
    let headers = [
        (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
        (header::CONTENT_LENGTH, metadata.len().to_string()),
        // A file that somebody logged must never run as a page of this origin.
        (header::CONTENT_DISPOSITION, "attachment".to_owned()),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
    ];
    Ok((headers, Body::from_stream(ReaderStream::new(file))).into_response())
}

pub(crate) async fn delete(State(store): State<Store>, UrlPath(path): UrlPath<String>) -> Answer {
    let target = below(store.files(), &path)?;
    if target == store.files() {
        return Err(invalid_path());
    }
    let removed = match tokio::fs::metadata(&target).await {
        Ok(metadata) if metadata.is_dir() => tokio::fs::remove_dir_all(&target).await,
        Ok(_) => tokio::fs::remove_file(&target).await,
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            Err(Refusal::disk("deleting an artifact", &error))
        }
        _ => Ok(done()),
    }
}

pub(crate) async fn list(State(store): State<Store>, Ask(ask): Ask<List>) -> Answer {
    let folder = below(store.files(), &ask.path)?;
    let files = files_in(&folder).await?;
    let mut fields = Map::new();
    put_items(&mut fields, "files", files);
    Ok(Json(Value::Object(fields)))
}

/// The files and folders directly in `folder`, by name; nothing when there is no such folder.
pub(crate) async fn files_in(folder: &Path) -> Result<Vec<Value>, Refusal> {
    let disk = |error: std::io::Error| Refusal::disk("listing artifacts", &error);
    let mut entries = match tokio::fs::read_dir(folder).await {
        Ok(entries) => entries,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(Vec::new()),
        Err(error) => return Err(disk(error)),
    };
    let mut found = Vec::new();
    while let Some(entry) = entries.next_entry().await.map_err(disk)? {
        let metadata = entry.metadata().await.map_err(disk)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let file = if metadata.is_dir() {
            json!({"path": name, "is_dir": true})
        } else {
            json!({"path": name, "is_dir": false, "file_size": metadata.len()})
        };
        found.push((name, file));
    }
    found.sort_by(|left, right| left.0.cmp(&right.0));
    Ok(found.into_iter().map(|(_, file)| file).collect())
}

/// `path` below `root`. Only plain names pass, so nothing can name a place outside.
pub(crate) fn below(root: &Path, path: &str) -> Result<PathBuf, Refusal> {
    let mut target = root.to_owned();
    for name in path.split('/').filter(|name| !name.is_empty()) {
        let plain = !matches!(name, "." | "..")
            && name.len() <= NAME_BYTES_MAX
            && !name.contains(['\\', '\0', ':'])
            && !name.contains(char::is_control);
        if !plain {
            return Err(invalid_path());
        }
        target.push(name);
    }
    Ok(target)
}

fn invalid_path() -> Refusal {
    Refusal::invalid("Invalid path")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_names_pass() {
        let root = Path::new("/r");
        assert_eq!(below(root, "1/a b/MLmodel").unwrap(), Path::new("/r/1/a b/MLmodel"));
        assert_eq!(below(root, "//1//x").unwrap(), Path::new("/r/1/x"), "an absolute path stays below");
        for bad in ["..", "a/../b", "a/./b", "a\\..\\b", "C:/x", "a\0b", "a\nb", &"n".repeat(256)] {
            assert!(below(root, bad).is_err(), "{bad:?}");
        }
    }
}
