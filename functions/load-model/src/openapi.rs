//! This function's interface as OpenAPI 3.1.

use jiff::Timestamp;
pub(crate) use regrove_host::openapi::Refused;
use regrove_host::openapi::{Bounds, ProblemBody, Registered};
use utoipa::{Modify, OpenApi, ToSchema, openapi};

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

/// The answer of `/model/load` and `/model/rollback`.
#[derive(Debug, ToSchema)]
#[expect(dead_code, clippy::struct_field_names, reason = "written by hand, described here")]
pub(crate) struct Loaded {
    /// Always true.
    model_loaded: bool,
    model_info: Registered,
    /// Where MLflow is.
    mlflow_uri: String,
    /// When, RFC 3339.
    #[schema(value_type = String, format = DateTime)]
    timestamp: Timestamp,
}

/// The answer of `/model/traffic`.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "written by hand, described here")]
pub(crate) struct Beside {
    /// The registered model's name.
    name: String,
    /// Null without one.
    #[schema(required = true)]
    canary: Option<RunningCanary>,
    /// Null without one.
    #[schema(required = true)]
    shadow: Option<RunningShadow>,
    /// When, RFC 3339.
    #[schema(value_type = String, format = DateTime)]
    timestamp: Timestamp,
}

/// The version that answers a share of the requests.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "written by hand, described here")]
struct RunningCanary {
    #[schema(example = "4")]
    version: String,
    /// Its share.
    #[schema(minimum = 1, maximum = 100, example = 10)]
    percent: u8,
}

/// The version whose answers are only compared.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "written by hand, described here")]
struct RunningShadow {
    #[schema(example = "4")]
    version: String,
}

#[cfg(test)]
mod tests {
    use regrove_events::SwitchedBy;
    use regrove_events::event::{Artifact, Canary, ModelLoaded, ServedVersion, TrafficChanged};

    use super::*;
    use crate::request;

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

    #[test]
    fn answers_are_what_is_described() {
        let at: Timestamp = "2026-11-27T08:00:00Z".parse().unwrap();
        let model = Artifact { sha256: "0".repeat(64), bytes: 1 };
        let loaded = ModelLoaded::plain("m", "4", model, SwitchedBy::Request);
        let version = ServedVersion::from(&loaded);
        let canary = Canary { version: version.clone(), percent: 10 };
        let alone = TrafficChanged { name: "m".to_owned(), canary: None, shadow: None, actor: None, reason: None };
        let beside = TrafficChanged { canary: Some(canary), shadow: Some(version), ..alone.clone() };
        let mut document = serde_json::to_value(Document::openapi()).unwrap();
        for (path, answer) in [
            ("/model/load", request::reply(&loaded, "http://mlflow", at)),
            ("/model/rollback", request::reply(&loaded, "http://mlflow", at)),
            ("/model/traffic", request::changed(&alone, at)),
            ("/model/traffic", request::changed(&beside, at)),
        ] {
            let content = &document["paths"][path]["post"]["responses"]["200"]["content"];
            let schema = content["application/json"]["schema"]["$ref"].clone();
            document["$ref"] = schema;
            let validator = jsonschema::validator_for(&document).unwrap();
            let wrong: Vec<String> = validator.iter_errors(&answer).map(|error| error.to_string()).collect();
            assert!(wrong.is_empty(), "{path}: {wrong:?} of {answer}");
        }
    }
}
