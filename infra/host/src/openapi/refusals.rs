//! What a document says of refusals.

use utoipa::openapi::path::Operation;
use utoipa::openapi::{OpenApi, PathItem, Ref};
use utoipa::{Modify, ToResponse};

/// Adds to what handlers say the refusals that are not theirs alone: any request may meet a defect of ours (500), a path with
/// a named part may be no UTF-8 (400), and every request with a body may be refused with these statuses: limits hold for all of
/// them alike. The document has the response [`Refused`].
#[derive(Debug, Clone, Copy)]
pub struct Bounds(pub &'static [u16]);

impl Modify for Bounds {
    fn modify(&self, document: &mut OpenApi) {
        for (path, item) in &mut document.paths.paths {
            for operation in operations(item) {
                may_refuse(operation, &[500]);
                if path.contains('{') {
                    may_refuse(operation, &[400]);
                }
                if operation.request_body.is_some() {
                    may_refuse(operation, self.0);
                }
            }
        }
    }
}

/// Says that an operation may be refused with these statuses, besides what its handler says.
pub fn may_refuse(operation: &mut Operation, statuses: &[u16]) {
    for status in statuses {
        let refused = || Ref::from_response_name("Refused").into();
        operation.responses.responses.entry(status.to_string()).or_insert_with(refused);
    }
}

/// The operations of a path, of the methods that functions have.
pub fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [item.get.as_mut(), item.post.as_mut()].into_iter().flatten()
}

/// Why the request was refused: `application/problem+json` (RFC 9457).
#[derive(Debug, ToResponse)]
#[response(description = "Refused, with the reason", content_type = "application/problem+json")]
pub struct Refused(pub ProblemBody);

/// A problem as clients see it; see `docs/problems.md`.
#[derive(Debug, serde::Serialize, utoipa::ToSchema)]
#[schema(title = "Problem")]
pub struct ProblemBody {
    /// `urn:regrove:problem:KIND`.
    #[serde(rename = "type")]
    #[schema(example = "urn:regrove:problem:wrong-feature-count")]
    pub kind: String,
    /// The kind in words.
    #[schema(example = "Wrong feature count")]
    pub title: String,
    /// HTTP status.
    #[schema(example = 400)]
    pub status: u16,
    /// What went wrong here and how to mend it.
    #[schema(example = "row 0 has 2 features, the model expects 20")]
    pub detail: String,
    /// Place in the body, as a JSON Pointer.
    #[schema(example = "/features/0")]
    pub pointer: Option<String>,
    /// The header that is wrong, where it is not the body.
    #[schema(example = "content-type")]
    pub header: Option<String>,
    /// Byte of a body that is no JSON.
    pub byte: Option<usize>,
    /// What was expected there.
    #[schema(example = "20 numbers")]
    pub expected: Option<String>,
    /// Row, from 0.
    pub row: Option<usize>,
    /// The column's name.
    pub column: Option<String>,
    /// All that is wrong with the body, the first of it above too.
    pub errors: Option<Vec<ProblemPlace>>,
}

/// What is wrong at one place of a body.
#[derive(Debug, serde::Serialize, utoipa::ToSchema)]
pub struct ProblemPlace {
    /// What is wrong and how to mend it.
    pub detail: String,
    /// Place in the body, as a JSON Pointer.
    pub pointer: String,
    /// What was expected there.
    pub expected: String,
    /// Row, from 0.
    pub row: Option<usize>,
    /// The column's name.
    pub column: Option<String>,
}
