//! From YAML text to documents.

use serde_json::Value;

/// Largest source that is read, in bytes: a directory of hand-written manifests is far below.
pub const SOURCE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// One source of manifests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Source<'a> {
    /// File name, or `-`: only for messages.
    pub name: &'a str,
    /// YAML or JSON, of any number of documents.
    pub text: &'a str,
}

/// One document of a source.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Document {
    /// Counted from 1.
    pub(crate) number: usize,
    /// Line at which it starts, counted from 1.
    pub(crate) line: usize,
    /// Its value, or what is wrong with its syntax.
    pub(crate) value: Result<Value, SyntaxFault>,
}

/// A fault of YAML's syntax.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SyntaxFault {
    /// Line in the source, counted from 1.
    pub(crate) line: usize,
    /// What is wrong, on one line and without a piece of the source, which may hold secrets.
    pub(crate) reason: String,
}

/// Whether a line is a document's start. Nothing else may stand at the start of a line that looks so, not even inside
/// a block scalar (YAML 1.2.2, section 9.1.2).
fn is_separator(line: &str) -> bool {
    line.strip_prefix("---").is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r']))
}

/// Splits a source at its separators and reads each document; documents without content are left out, but counted.
pub(crate) fn read_documents(source: Source<'_>) -> Vec<Document> {
    if source.text.len() > SOURCE_BYTES_MAX {
        let reason = format!("larger than {SOURCE_BYTES_MAX} bytes");
        return vec![Document { number: 1, line: 1, value: Err(SyntaxFault { line: 1, reason }) }];
    }
    let text = source.text.strip_prefix('\u{feff}').unwrap_or(source.text);
    split(text)
        .into_iter()
        .enumerate()
        .map(|(index, (line, chunk))| Document { number: index + 1, line, value: read_value(chunk, line) })
        .filter(|document| document.value != Ok(Value::Null))
        .collect()
}

/// (first line, text) of each document that is not blank.
fn split(text: &str) -> Vec<(usize, &str)> {
    let mut chunks = Vec::new();
    let (mut start, mut start_line, mut offset) = (0, 1, 0);
    for (index, line) in text.split_inclusive('\n').enumerate() {
        if is_separator(line.trim_end_matches('\n')) && offset > start {
            chunks.push((start_line, &text[start..offset]));
            (start, start_line) = (offset, index + 1);
        }
        offset += line.len();
    }
    chunks.push((start_line, &text[start..]));
    chunks.retain(|(_, chunk)| !is_blank(chunk));
    chunks
}

/// Whether a chunk has only comments, directives and markers.
fn is_blank(chunk: &str) -> bool {
    chunk.lines().all(|line| {
        let line = line.trim();
        line.is_empty() || line == "---" || line == "..." || line.starts_with(['#', '%'])
    })
}

fn read_value(text: &str, first_line: usize) -> Result<Value, SyntaxFault> {
    serde_saphyr::from_str::<Value>(text).map_err(|error| {
        let place = error.location().map(|place| (place.line(), place.column()));
        let (line, column) = place.unwrap_or((1, 1));
        let line = first_line + usize::try_from(line).unwrap_or(1).saturating_sub(1);
        let text = error.without_snippet().to_string().replace('\n', " ");
        // The text ends with a place counted from the document's start, which would contradict ours.
        let reason = text.rsplit_once(" at line ").map_or(text.as_str(), |(reason, _)| reason);
        SyntaxFault { line, reason: format!("column {column}: {reason}") }
    })
}
