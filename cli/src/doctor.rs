//! What is configured, what answers, and what is wrong, with the way to mend it.

pub(crate) mod cluster;
pub(crate) mod here;

use serde::Serialize;

/// How something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Verdict {
    /// As it should be.
    Well,
    /// It works, and somebody should look at it.
    Doubt,
    /// It does not work.
    Wrong,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    /// What was looked at.
    pub(crate) what: String,
    /// How it is.
    pub(crate) verdict: Verdict,
    /// What was seen.
    pub(crate) detail: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) mend: Option<String>,
}

impl Finding {
    pub(crate) fn well(what: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { what: what.into(), verdict: Verdict::Well, detail: detail.into(), mend: None }
    }

    pub(crate) fn doubt(what: impl Into<String>, detail: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { what: what.into(), verdict: Verdict::Doubt, detail: detail.into(), mend: Some(mend.into()) }
    }

    pub(crate) fn wrong(what: impl Into<String>, detail: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { what: what.into(), verdict: Verdict::Wrong, detail: detail.into(), mend: Some(mend.into()) }
    }
}
