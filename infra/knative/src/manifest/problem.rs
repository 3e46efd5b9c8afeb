//! What is wrong with a manifest, said so that a user can repair it.

use std::fmt;

use thiserror::Error;

/// One thing wrong (or doubtful) in one document of one source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Name of the source, as the caller gave it: a file name, or `-`.
    pub source: String,
    /// Number of the document in its source, counted from 1.
    pub document: usize,
    /// Line in the source, counted from 1: of the fault when it is one of syntax, else of the document's start.
    pub line: usize,
    /// `Kind/name` of the object, or empty when the document could not be read that far.
    pub object: String,
    /// Path of the field from the document's root, e.g. `spec.template.spec.containers[0].image`;
    /// empty when the whole document is meant.
    pub path: String,
    /// What is wrong and, where that is not plain, what would be right.
    pub reason: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}: document {}", self.source, self.line, self.document)?;
        if !self.object.is_empty() {
            write!(out, ", {}", self.object)?;
        }
        if !self.path.is_empty() {
            write!(out, ": {}", self.path)?;
        }
        write!(out, ": {}", self.reason)
    }
}

/// Every problem found in a set of manifests, in the order of the documents.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                out.write_str("\n")?;
            }
            write!(out, "{problem}")?;
        }
        Ok(())
    }
}
