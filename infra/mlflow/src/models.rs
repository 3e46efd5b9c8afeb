//! Logged models: models with their own identity and files (MLflow 3.x). On 2.x each call gives
//! [`Error::NoSuchEndpoint`].

use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::client::Client;
use crate::error::Error;
use crate::pages;
use crate::wire::{LoggedModel, LoggedModelStatus, LoggedModelWire, NewLoggedModel};

#[derive(Deserialize)]
struct ModelReply {
    model: LoggedModelWire,
}

#[derive(Deserialize)]
struct ModelsPage {
    #[serde(default)]
    models: Vec<LoggedModelWire>,
    #[serde(default)]
    next_page_token: Option<String>,
}

/// Logged models on a page of a search: 50 is the most that MLflow allows.
const LOGGED_MODELS_PER_PAGE: u32 = 50;

impl Client {
    /// Creates a logged model in state pending. Not safe to repeat.
    ///
    /// # Errors
    /// [`Error::NoSuchEndpoint`] on 2.x.
    pub async fn create_logged_model(&self, model: &NewLoggedModel) -> Result<LoggedModel, Error> {
        let reply: ModelReply = self.post("logged-models", model).await?;
        Ok(reply.model.into())
    }

    /// A logged model.
    ///
    /// # Errors
    /// [`Error::NotFound`] for an unknown id.
    pub async fn logged_model(&self, model_id: &str) -> Result<LoggedModel, Error> {
        let none: [(&str, &str); 0] = [];
        let reply: ModelReply = self.get(&format!("logged-models/{model_id}"), &none).await?;
        Ok(reply.model.into())
    }

    /// Sets the state of a logged model.
    ///
    /// # Errors
    /// [`Error::NotFound`] for an unknown id.
    pub async fn set_logged_model_status(&self, model_id: &str, status: LoggedModelStatus) -> Result<(), Error> {
        let path = format!("logged-models/{model_id}");
        let body = json!({"model_id": model_id, "status": status});
        let _: Value = self.call(Method::PATCH, &path, &body).await?;
        Ok(())
    }

    /// The logged models of an experiment that fit the filter (empty: all).
    ///
    /// # Errors
    /// [`Error::NoSuchEndpoint`] on 2.x.
    pub async fn search_logged_models(&self, experiment_id: &str, filter: &str) -> Result<Vec<LoggedModel>, Error> {
        let body = json!({
            "experiment_ids": [experiment_id],
            "filter": filter,
            "max_results": LOGGED_MODELS_PER_PAGE,
        });
        let models = pages::all(|token| async {
            let page: ModelsPage = self.post("logged-models/search", &pages::from(&body, token)).await?;
            Ok((page.models, page.next_page_token))
        });
        Ok(models.await?.into_iter().map(LoggedModel::from).collect())
    }

    /// Deletes a logged model.
    ///
    /// # Errors
    /// [`Error::NotFound`] for an unknown id.
    pub async fn delete_logged_model(&self, model_id: &str) -> Result<(), Error> {
        let path = format!("logged-models/{model_id}");
        let _: Value = self.call(Method::DELETE, &path, &json!({"model_id": model_id})).await?;
        Ok(())
    }
}
