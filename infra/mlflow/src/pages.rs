//! Searches that answer page by page.

use std::future::Future;

use serde_json::Value;

use crate::error::Error;

/// What one page holds, and where the next one begins.
pub(crate) type Page<T> = (Vec<T>, Option<String>);

/// Everything on all pages; `page` gives the one that begins at a token, the first one without.
///
/// # Errors
/// What `page` says.
pub(crate) async fn all<T, F>(page: impl Fn(Option<String>) -> F) -> Result<Vec<T>, Error>
where
    F: Future<Output = Result<Page<T>, Error>>,
{
    let (mut everything, mut token) = (Vec::new(), None);
    loop {
        let (items, next) = page(token).await?;
        everything.extend(items);
        token = following(next);
        if token.is_none() {
            return Ok(everything);
        }
    }
}

/// A search for the page that begins at a token.
pub(crate) fn from(search: &Value, token: Option<String>) -> Value {
    let mut search = search.clone();
    if let Some(token) = token {
        search["page_token"] = token.into();
    }
    search
}

/// Where the next page begins; some servers say the empty text after the last one.
pub(crate) fn following(token: Option<String>) -> Option<String> {
    token.filter(|token| !token.is_empty())
}
