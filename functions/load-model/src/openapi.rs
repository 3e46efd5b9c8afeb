//! This function's interface as OpenAPI 3.1.

use regrove_host::openapi::ProblemBody;
use utoipa::{OpenApi, ToResponse};

/// The document.
#[derive(Debug, OpenApi)]
#[openapi(
    info(title = "Regrove load-model", description = "Verifies model versions and moves the serving pointers."),
    tags(
        (name = "serving", description = "Which version is served under a model's name."),
        (name = "CloudEvents", description = "What this function does by itself."),
    ),
    paths(crate::load, crate::rollback, crate::traffic, crate::receive, crate::tick),
    components(schemas(ProblemBody), responses(Refused)),
)]
pub(crate) struct Document;

/// Why the request was refused: `application/problem+json` (RFC 9457).
#[derive(Debug, ToResponse)]
#[response(description = "Refused, with the reason", content_type = "application/problem+json")]
#[expect(dead_code, reason = "it is what clients read; problems are written by the host")]
pub(crate) struct Refused(ProblemBody);
