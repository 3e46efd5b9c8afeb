//! Sweeps: many settings of one request, and the best of them.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use regrove_host::{JsonBody, Path, Problem};
use regrove_jobs::SweepView;
use serde_json::Value;

use super::jobs::created;
use crate::{Ports, action};

/// What a sweep is asked for with: `id` and the data of `sweep-requested` (`events/schemas/sweep-requested.v1.json`).
#[utoipa::path(post, path = "/api/sweeps", tag = "sweeps", request_body = Object,
    responses((status = 202, description = "The sweep is asked for", body = action::Ordered), (status = 200, body = action::Ordered, description = "the same sweep was there before"),
        (status = 409, description = "job-id-taken"), (status = 422, description = "invalid-request, also for more than 1,000 combinations")))]
pub(crate) async fn submit_sweep(
    State(ports): State<Arc<Ports>>,
    JsonBody(body): JsonBody<Value>,
) -> Result<Response, Problem> {
    Ok(created(action::submit_sweep(&ports, body).await?))
}

/// Shows a sweep: its trials so far, their scores, the best one. It is stopped as a job is.
#[utoipa::path(get, path = "/api/sweeps/{id}", tag = "sweeps", params(("id" = String, Path, description = "Sweep id")),
    responses((status = 200, description = "The sweep", body = SweepView), (status = 404, description = "job-not-found")))]
pub(crate) async fn show_sweep(
    State(ports): State<Arc<Ports>>,
    Path(id): Path<String>,
) -> Result<Json<SweepView>, Problem> {
    action::check_id(&id)?;
    Ok(Json(ports.jobs.show_sweep(&id).await.map_err(action::refused)?))
}
