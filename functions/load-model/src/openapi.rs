//! This function's interface as OpenAPI 3.1.

use regrove_host::openapi::{Bounds, ProblemBody};
use utoipa::{Modify, OpenApi, ToResponse, openapi};

/// What any body may be refused with.
const BOUNDS: Bounds = Bounds(&[408, 413, 415, 503]);

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
    modifiers(&BOUNDS, &Optional),
)]
pub(crate) struct Document;

/// Bodies of which every member is optional may be left out.
struct Optional;

impl Modify for Optional {
    fn modify(&self, document: &mut openapi::OpenApi) {
        for path in ["/model/load", "/model/rollback", "/model/traffic"] {
            let operation = document.paths.paths.get_mut(path).and_then(|path| path.post.as_mut());
            if let Some(openapi::RefOr::T(body)) = operation.and_then(|operation| operation.request_body.as_mut()) {
                body.required = Some(openapi::Required::False);
            }
        }
    }
}

/// Why the request was refused: `application/problem+json` (RFC 9457).
#[derive(Debug, ToResponse)]
#[response(description = "Refused, with the reason", content_type = "application/problem+json")]
#[expect(dead_code, reason = "it is what clients read; problems are written by the host")]
pub(crate) struct Refused(ProblemBody);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_is_openapi_and_has_every_route() {
        let document = serde_json::to_value(Document::openapi()).unwrap();
        assert_eq!(document["openapi"], "3.1.0");
        let source = include_str!("lib.rs");
        let routes: Vec<&str> =
            source.lines().filter_map(|line| line.trim().strip_prefix(".route(\"")?.split('"').next()).collect();
        assert!(routes.contains(&"/model/load"), "{routes:?}");
        for route in &routes {
            assert!(document["paths"][*route]["post"].is_object(), "{route} is not described");
        }
        assert_eq!(document["paths"].as_object().unwrap().len(), routes.len());
        for body in ["Load", "Rollback", "Traffic", "CanaryWish", "VersionWish"] {
            assert_eq!(document["components"]["schemas"][body]["additionalProperties"], false, "{body}");
        }
        for path in ["/model/load", "/model/rollback", "/model/traffic"] {
            let post = &document["paths"][path]["post"];
            assert_ne!(post["requestBody"]["required"], true, "{path}: an empty body says nothing and is understood");
            assert!(post["responses"]["415"].is_object(), "{path}");
        }
        let version = document["components"]["schemas"]["Version"].to_string();
        assert!(version.contains("\"integer\"") && version.contains("\"string\""), "`latest` too: {version}");
    }
}
