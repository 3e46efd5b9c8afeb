//! What documents say of models.

use utoipa::ToSchema;

/// What MLflow says of a version: `regrove_events::event::ModelLoaded::info`.
#[derive(Debug, ToSchema)]
pub struct Registered {
    /// The registered model's name.
    pub name: String,
    /// The version.
    #[schema(example = "3")]
    pub version: String,
    /// Its stage, `None` without one.
    pub stage: String,
    /// What is said of it.
    pub description: String,
    /// When it was made, in milliseconds since 1970.
    pub creation_timestamp: i64,
}
