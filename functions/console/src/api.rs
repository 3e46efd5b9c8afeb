//! The job API: what programs call, and the views that the pages show.

pub(crate) mod dead_letters;
pub(crate) mod events;
mod follow;
pub(crate) mod functions;
pub(crate) mod jobs;
pub(crate) mod models;
pub(crate) mod overview;
mod sweeps;

use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post};
use regrove_host::openapi::{Bounds, ProblemBody, Refused, may_refuse, operations};
use utoipa::OpenApi as _;
use utoipa::openapi::{Content, Ref, RefOr};

use crate::Ports;

/// What any body may be refused with.
const BOUNDS: Bounds = Bounds(&[408, 413, 415, 422]);

/// The job API.
#[derive(Debug, utoipa::OpenApi)]
#[openapi(
    info(
        title = "Regrove console",
        description = "Jobs, events and models of a Regrove. Refusals are application/problem+json (RFC 9457)."
    ),
    paths(
        jobs::list_jobs, jobs::show_job, jobs::submit_job, jobs::stop_job, jobs::retry_job, jobs::replay_job,
        jobs::job_events, jobs::job_steps, follow::job_news, sweeps::submit_sweep, sweeps::show_sweep, jobs::job_trace, functions::job_logs, jobs::compare_jobs, dead_letters::list_dead_letters,
        dead_letters::redrive, dead_letters::discard, functions::list_functions, functions::show_function, events::list_events, events::show_event, models::list_models,
        models::show_model, models::load_model, models::change_traffic, models::predict, overview::show_overview,
    ),
    components(schemas(ProblemBody), responses(Refused)),
    modifiers(&BOUNDS, &Guarded, &Problems),
    security(("bearer" = [])),
)]
struct Document;

/// Says that a token may be needed (401), that orders from other sites' pages are refused (403), and that the control store may
/// not answer (503).
struct Guarded;

impl utoipa::Modify for Guarded {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
        let scheme = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("REGROVE_TOKEN; not needed on the same machine while none is set"))
            .build();
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("bearer", SecurityScheme::Http(scheme));
        for item in document.paths.paths.values_mut() {
            if let Some(order) = &mut item.post {
                may_refuse(order, &[403]);
            }
            operations(item).for_each(|operation| may_refuse(operation, &[401, 503]));
        }
    }
}

/// Says that refusals which are told by their kinds are problems too.
struct Problems;

impl utoipa::Modify for Problems {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let operations = document.paths.paths.values_mut().flat_map(operations);
        for (status, response) in operations.flat_map(|operation| operation.responses.responses.iter_mut()) {
            if let RefOr::T(response) = response
                && status.as_str() >= "400"
            {
                let problem = Content::new(Some(Ref::from_schema_name("ProblemBody")));
                response.content.insert("application/problem+json".to_owned(), problem.into());
            }
        }
    }
}

/// OpenAPI 3.1 of the job API, made from the code.
pub fn openapi() -> utoipa::openapi::OpenApi {
    Document::openapi()
}

pub(crate) fn document_routes() -> Router<Arc<Ports>> {
    regrove_host::openapi::routes(openapi)
}

pub(crate) fn routes() -> Router<Arc<Ports>> {
    Router::new()
        .route("/overview", get(overview::show_overview))
        .route("/jobs", get(jobs::list_jobs).post(jobs::submit_job))
        .route("/jobs/compare", get(jobs::compare_jobs))
        .route("/jobs/{id}", get(jobs::show_job))
        .route("/jobs/{id}/events", get(jobs::job_events))
        .route("/jobs/{id}/logs", get(functions::job_logs))
        .route("/jobs/{id}/news", get(follow::job_news))
        .route("/sweeps", post(sweeps::submit_sweep))
        .route("/sweeps/{id}", get(sweeps::show_sweep))
        .route("/jobs/{id}/steps", get(jobs::job_steps))
        .route("/jobs/{id}/trace", get(jobs::job_trace))
        .route("/jobs/{id}/stop", post(jobs::stop_job))
        .route("/jobs/{id}/retry", post(jobs::retry_job))
        .route("/jobs/{id}/replay", post(jobs::replay_job))
        .route("/events", get(events::list_events))
        .route("/events/{*place}", get(events::show_event))
        .route("/dead-letters", get(dead_letters::list_dead_letters))
        .route("/dead-letters/redrive", post(dead_letters::redrive))
        .route("/dead-letters/discard", post(dead_letters::discard))
        .route("/functions", get(functions::list_functions))
        .route("/functions/{name}", get(functions::show_function))
        .route("/models", get(models::list_models))
        .route("/models/{name}", get(models::show_model))
        .route("/models/{name}/load", post(models::load_model))
        .route("/models/{name}/traffic", post(models::change_traffic))
        .route("/models/{name}/predict", post(models::predict))
}
