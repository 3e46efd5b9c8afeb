//! `ConfigMap` and `Secret`: values for variables.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::fields::{Cursor, Fields};
use super::metadata::Metadata;

/// A `ConfigMap` with its text values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigMap {
    /// Name, labels, annotations.
    pub metadata: Metadata,
    /// Values by key; `binaryData` is not read, as variables cannot hold it.
    pub data: BTreeMap<String, String>,
}

/// A `Secret`, decoded; its `Debug` form does not show values.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret {
    /// Name, labels, annotations.
    pub metadata: Metadata,
    /// Values by key: `data` decoded, overlaid by `stringData`.
    pub data: BTreeMap<String, Vec<u8>>,
}

impl fmt::Debug for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Secret")
            .field("metadata", &self.metadata)
            .field("keys", &self.data.keys().collect::<Vec<_>>())
            .finish()
    }
}

impl ConfigMap {
    pub(crate) fn read(document: &mut Fields<'_>) -> Self {
        let metadata = Metadata::read(document, false);
        let data = document.string_map("data");
        document.accept(&["binaryData", "immutable"]);
        Self { metadata, data }
    }
}

impl Secret {
    pub(crate) fn read(document: &mut Fields<'_>) -> Self {
        let metadata = Metadata::read(document, false);
        let mut data = BTreeMap::new();
        if let Some(node) = document.get("data") {
            for (key, text) in read_quietly(&node) {
                match STANDARD.decode(text.replace(['\n', ' '], "")) {
                    Ok(bytes) => {
                        data.insert(key, bytes);
                    }
                    Err(_) => {
                        document.error(&format!("data[{key}]"), "must be base64; plain text goes under `stringData`");
                    }
                }
            }
        }
        if let Some(node) = document.get("stringData") {
            data.extend(read_quietly(&node).into_iter().map(|(key, text)| (key, text.into_bytes())));
        }
        document.accept(&["type", "immutable"]);
        Self { metadata, data }
    }
}

/// Like `string_map`, but a fault never shows the value: it is a secret.
fn read_quietly(node: &Cursor<'_>) -> BTreeMap<String, String> {
    let Some(map) = node.value.as_object() else {
        node.error("must be an object");
        return BTreeMap::new();
    };
    let mut strings = BTreeMap::new();
    for (key, value) in map {
        match value.as_str() {
            Some(text) => {
                strings.insert(key.clone(), text.to_owned());
            }
            None => node.findings.error(format!("{}[{key}]", node.path), "must be a string; quote it"),
        }
    }
    strings
}
