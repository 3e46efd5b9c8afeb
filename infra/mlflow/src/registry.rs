//! The registry: registered models, their versions and aliases.

use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::client::Client;
use crate::error::Error;
use crate::pages;
use crate::wire::{ModelVersion, RegisteredModel, Tag};

/// What to create a version from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct NewModelVersion {
    /// Name of the registered model, which must exist.
    pub name: String,
    /// Where the files are.
    pub source: String,
    /// The logged model; needed when the source is `models:/m-…`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model_id: Option<String>,
    /// The run that made it.
    pub run_id: String,
    /// Tags.
    pub tags: Vec<Tag>,
    /// Free text.
    pub description: String,
}

#[derive(Deserialize)]
struct VersionReply {
    model_version: ModelVersion,
}

#[derive(Deserialize)]
struct VersionsPage {
    #[serde(default)]
    model_versions: Vec<ModelVersion>,
    #[serde(default)]
    next_page_token: Option<String>,
}

#[derive(Deserialize)]
struct RegisteredReply {
    registered_model: RegisteredModel,
}

#[derive(Deserialize)]
struct RegisteredPage {
    #[serde(default)]
    registered_models: Vec<RegisteredModel>,
    #[serde(default)]
    next_page_token: Option<String>,
}

#[derive(Deserialize)]
struct DownloadUri {
    artifact_uri: String,
}

/// Registered models on a page of a search.
const REGISTERED_MODELS_PER_PAGE: u32 = 1000;
/// Versions on a page of a search for all of them.
const VERSIONS_PER_PAGE: u32 = 1000;

impl Client {
    /// Creates a name in the registry.
    ///
    /// # Errors
    /// [`Error::AlreadyExists`] when it is taken.
    pub async fn create_registered_model(
        &self,
        name: &str,
        tags: &[Tag],
        description: &str,
    ) -> Result<RegisteredModel, Error> {
        let body = json!({"name": name, "tags": tags, "description": description});
        let reply: RegisteredReply = self.post("registered-models/create", &body).await?;
        Ok(reply.registered_model)
    }

    /// A registered model with its aliases.
    ///
    /// # Errors
    /// [`Error::NotFound`] for an unknown name.
    pub async fn registered_model(&self, name: &str) -> Result<RegisteredModel, Error> {
        let reply: RegisteredReply = self.get("registered-models/get", &[("name", name)]).await?;
        Ok(reply.registered_model)
    }

    /// The registered models that fit the filter (empty: all).
    ///
    /// # Errors
    /// [`Error::Refused`] for a filter that MLflow does not understand.
    pub async fn search_registered_models(&self, filter: &str) -> Result<Vec<RegisteredModel>, Error> {
        pages::all(|token| async {
            let mut query = vec![("max_results", REGISTERED_MODELS_PER_PAGE.to_string())];
            if !filter.is_empty() {
                query.push(("filter", filter.to_owned()));
            }
            query.extend(token.map(|token| ("page_token", token)));
            let page: RegisteredPage = self.get("registered-models/search", &query).await?;
            Ok((page.registered_models, page.next_page_token))
        })
        .await
    }

    /// Lets an alias name a version; moves it when it names another one.
    ///
    /// # Errors
    /// [`Error::Refused`] for the reserved names `latest` and `v1`, `v2`, …; [`Error::NotFound`] for an unknown version.
    pub async fn set_alias(&self, name: &str, alias: &str, version: u64) -> Result<(), Error> {
        let body = json!({"name": name, "alias": alias, "version": version.to_string()});
        let _: Value = self.post("registered-models/alias", &body).await?;
        Ok(())
    }

    /// Removes an alias.
    ///
    /// # Errors
    /// [`Error::NotFound`] for an unknown model.
    pub async fn delete_alias(&self, name: &str, alias: &str) -> Result<(), Error> {
        let body = json!({"name": name, "alias": alias});
        let _: Value = self.call(Method::DELETE, "registered-models/alias", &body).await?;
        Ok(())
    }

    /// The version that an alias names.
    ///
    /// # Errors
    /// [`Error::NotFound`] for an unknown model or alias (the server says 400 for the latter).
    pub async fn version_by_alias(&self, name: &str, alias: &str) -> Result<ModelVersion, Error> {
        let reply: Result<VersionReply, Error> =
            self.get("registered-models/alias", &[("name", name), ("alias", alias)]).await;
        match reply {
            Ok(reply) => Ok(reply.model_version),
            Err(Error::Refused { error_code, message, .. })
                if error_code == "INVALID_PARAMETER_VALUE" && message.contains("not found") =>
            {
                Err(Error::NotFound { what: format!("alias {alias} of model {name}"), message })
            }
            Err(error) => Err(error),
        }
    }

    /// Creates the next version of a registered model. Not safe to repeat:
    /// [`Record::ensure_model_version`](crate::Record::ensure_model_version) is.
    ///
    /// # Errors
    /// [`Error::NotFound`] for an unknown model, [`Error::Refused`] for a source outside the run or logged model.
    pub async fn create_model_version(&self, version: &NewModelVersion) -> Result<ModelVersion, Error> {
        let reply: VersionReply = self.post("model-versions/create", version).await?;
        Ok(reply.model_version)
    }

    /// One version.
    ///
    /// # Errors
    /// [`Error::NotFound`] for an unknown model or version.
    pub async fn model_version(&self, name: &str, version: u64) -> Result<ModelVersion, Error> {
        let query = [("name", name.to_owned()), ("version", version.to_string())];
        let reply: VersionReply = self.get("model-versions/get", &query).await?;
        Ok(reply.model_version)
    }

    /// The versions that fit a filter, in the given order (empty: the server's), at most `max_results`
    /// (1 ..= 10000).
    ///
    /// # Errors
    /// [`Error::Refused`] for a filter that MLflow does not understand.
    pub async fn search_model_versions(
        &self,
        filter: &str,
        order_by: &str,
        max_results: u32,
    ) -> Result<Vec<ModelVersion>, Error> {
        let page = self.versions_page(filter, order_by, max_results, None).await?;
        Ok(page.model_versions)
    }

    /// Every version that fits a filter, the lowest number first.
    ///
    /// # Errors
    /// As for [`search_model_versions`](Self::search_model_versions).
    pub async fn all_model_versions(&self, filter: &str) -> Result<Vec<ModelVersion>, Error> {
        let versions = pages::all(|token| async {
            let page = self.versions_page(filter, "", VERSIONS_PER_PAGE, token).await?;
            Ok((page.model_versions, page.next_page_token))
        });
        let mut versions = versions.await?;
        versions.sort_by_key(|version| version.version);
        Ok(versions)
    }

    async fn versions_page(
        &self,
        filter: &str,
        order_by: &str,
        max_results: u32,
        token: Option<String>,
    ) -> Result<VersionsPage, Error> {
        let mut query = vec![("filter", filter.to_owned()), ("max_results", max_results.to_string())];
        if !order_by.is_empty() {
            query.push(("order_by", order_by.to_owned()));
        }
        query.extend(token.map(|token| ("page_token", token)));
        self.get("model-versions/search", &query).await
    }

    /// Sets or replaces one tag of a version.
    ///
    /// # Errors
    /// [`Error::NotFound`] for an unknown version.
    pub async fn set_version_tag(&self, name: &str, version: u64, tag: &Tag) -> Result<(), Error> {
        let body = json!({
            "name": name, "version": version.to_string(), "key": tag.key, "value": tag.value,
        });
        let _: Value = self.post("model-versions/set-tag", &body).await?;
        Ok(())
    }

    /// Deletes a version; its number is not given again.
    ///
    /// # Errors
    /// [`Error::NotFound`] for an unknown version.
    pub async fn delete_model_version(&self, name: &str, version: u64) -> Result<(), Error> {
        let body = json!({"name": name, "version": version.to_string()});
        let _: Value = self.call(Method::DELETE, "model-versions/delete", &body).await?;
        Ok(())
    }

    /// Where the files of a version are, for example `mlflow-artifacts:/1/models/m-…/artifacts`.
    ///
    /// # Errors
    /// [`Error::NotFound`] for an unknown version.
    pub async fn download_uri(&self, name: &str, version: u64) -> Result<String, Error> {
        let query = [("name", name.to_owned()), ("version", version.to_string())];
        let reply: DownloadUri = self.get("model-versions/get-download-uri", &query).await?;
        Ok(reply.artifact_uri)
    }
}
