//! From a request's body to rows of float32, or to the place where it is wrong.

use http::StatusCode;
use regrove_host::Problem;
use serde::Deserialize;

/// Most rows in one request.
pub const ROWS_MAX: usize = 100_000;

/// Rows as the kernel takes them.
#[derive(Debug, Clone, PartialEq)]
pub struct Rows {
    /// Row-major, `(n_rows, n_features)`; NaN for `null`.
    pub values: Vec<f32>,
    /// How many rows.
    pub n_rows: usize,
}

#[derive(Debug, Deserialize)]
struct Body {
    features: Vec<Vec<Option<f64>>>,
}

/// Reads `{"features": [[…], …]}` for a model with `n_features` columns. Unknown members are ignored.
///
/// `null` is a missing value. Whole numbers and fractions are numbers; strings and booleans are not.
///
/// # Errors
/// 422 when the body is not of that shape, with a pointer to the place; 400 when the rows do not fit the model.
pub fn parse(body: &[u8], n_features: usize) -> Result<Rows, Problem> {
    let mut json = serde_json::Deserializer::from_slice(body);
    let body: Body = serde_path_to_error::deserialize(&mut json).map_err(|error| shape(&error))?;
    json.end().map_err(|error| malformed(&error.to_string(), ""))?;
    let rows = body.features;
    if rows.is_empty() {
        return Err(refuse("no-rows", "`features` is empty, expected at least one row".to_owned(), "/features"));
    }
    if rows.len() > ROWS_MAX {
        let detail = format!("`features` has {} rows, at most {ROWS_MAX} are answered at once", rows.len());
        return Err(refuse("too-many-rows", detail, "/features").status(StatusCode::PAYLOAD_TOO_LARGE));
    }
    let mut values = Vec::with_capacity(rows.len() * n_features);
    for (at, row) in rows.iter().enumerate() {
        if row.len() != n_features {
            let detail = format!("row {at} has {} features, the model expects {n_features}", row.len());
            return Err(refuse("wrong-feature-count", detail, &format!("/features/{at}")));
        }
        for (column, value) in row.iter().enumerate() {
            let Some(value) = *value else {
                values.push(f32::NAN);
                continue;
            };
            #[expect(
                clippy::cast_possible_truncation,
                reason = "the model is trained on float32: so does scikit-learn"
            )]
            let narrow = value as f32;
            if !narrow.is_finite() {
                let detail = format!("row {at}, column {column}: {value} is beyond float32");
                return Err(refuse("number-too-large", detail, &format!("/features/{at}/{column}")));
            }
            values.push(narrow);
        }
    }
    Ok(Rows { values, n_rows: rows.len() })
}

fn refuse(kind: &'static str, detail: String, pointer: &str) -> Problem {
    Problem::new(kind, StatusCode::BAD_REQUEST, detail).with("pointer", pointer)
}

fn malformed(detail: &str, pointer: &str) -> Problem {
    Problem::new("invalid-request", StatusCode::UNPROCESSABLE_ENTITY, detail).with("pointer", pointer)
}

fn shape(error: &serde_path_to_error::Error<serde_json::Error>) -> Problem {
    let pointer: String = error
        .path()
        .iter()
        .map(|segment| match segment {
            serde_path_to_error::Segment::Seq { index } => format!("/{index}"),
            serde_path_to_error::Segment::Map { key } => format!("/{key}"),
            _ => String::new(),
        })
        .collect();
    malformed(&format!("expected {{\"features\": [[number, …], …]}}: {}", error.inner()), &pointer)
}
