//! Dead letters: what nobody took, delivered again or let go of.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use regrove_host::{JsonBody, Problem};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use crate::respond::Params;
use crate::runtime::{ABSENT, DeadLetter};
use crate::{Ports, action};

/// Dead letters in a list when nothing else is said.
const LIMIT_DEFAULT: usize = 100;
/// Dead letters in a list at most.
const LIMIT_MAX: usize = 1000;

/// How many.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct LetterQuery {
    /// 1 to 1000, 100 when absent.
    limit: Option<usize>,
}

/// Dead letters, the newest first.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct LetterList {
    /// The letters.
    pub(crate) letters: Vec<DeadLetter>,
    /// Why they are not known here.
    pub(crate) unavailable: Option<String>,
}

/// The newest dead letters.
///
/// # Errors
/// 422 for a limit out of range; 503 when the runtime does not answer. A missing runtime is said in the list.
pub(crate) async fn list(ports: &Ports, query: &LetterQuery) -> Result<LetterList, Problem> {
    let limit = query.limit.unwrap_or(LIMIT_DEFAULT);
    if !(1..=LIMIT_MAX).contains(&limit) {
        return Err(action::invalid(&format!("`limit` is {limit}, expected 1 to {LIMIT_MAX}")));
    }
    if !ports.runtime.is_known() {
        return Ok(LetterList { letters: Vec::new(), unavailable: Some(ABSENT.to_owned()) });
    }
    Ok(LetterList { letters: ports.runtime.dead_letters(limit).await?, unavailable: None })
}

/// Lists dead letters, the newest first.
#[utoipa::path(get, path = "/api/dead-letters", tag = "events", params(LetterQuery),
    responses((status = 200, description = "The dead letters", body = LetterList)))]
pub(crate) async fn list_dead_letters(
    State(ports): State<Arc<Ports>>,
    Params(query): Params<LetterQuery>,
) -> Result<Json<LetterList>, Problem> {
    Ok(Json(list(&ports, &query).await?))
}

/// Which dead letters.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Chosen {
    /// Their numbers.
    ids: Vec<i64>,
    /// All of them instead.
    all: bool,
}

impl Chosen {
    fn numbers(self) -> Result<Vec<i64>, Problem> {
        if self.all == self.ids.is_empty() {
            return Ok(self.ids);
        }
        Err(action::invalid("say either `ids` or `all: true`"))
    }
}

/// Has dead letters delivered again to the triggers that failed on them.
#[utoipa::path(post, path = "/api/dead-letters/redrive", tag = "events", request_body = Chosen,
    responses((status = 200, body = Object, description = "`redriven`: how many"),
        (status = 501, description = "runtime-absent")))]
pub(crate) async fn redrive(
    State(ports): State<Arc<Ports>>,
    JsonBody(chosen): JsonBody<Chosen>,
) -> Result<Json<Value>, Problem> {
    Ok(Json(ports.runtime.settle("redrive", &chosen.numbers()?).await?))
}

/// Lets go of dead letters.
#[utoipa::path(post, path = "/api/dead-letters/discard", tag = "events", request_body = Chosen,
    responses((status = 200, body = Object, description = "`discarded`: how many"),
        (status = 501, description = "runtime-absent")))]
pub(crate) async fn discard(
    State(ports): State<Arc<Ports>>,
    JsonBody(chosen): JsonBody<Chosen>,
) -> Result<Json<Value>, Problem> {
    Ok(Json(ports.runtime.settle("discard", &chosen.numbers()?).await?))
}
