//! The log line of a dead letter. A cluster's broker keeps no list of them: there, this line is what tells.

use regrove_events::CloudEvent;
use regrove_knative::delivery::ERROR_CODE;
use serde_json::Value;

/// Message of such a line.
const MESSAGE: &str = "dead letter";

/// What the log says of one dead letter; `regrove doctor --cluster` reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetterLine {
    /// Id of the event.
    pub id: String,
    /// Its type.
    pub ty: String,
    /// Status of the last answer, if the broker says it.
    pub code: Option<String>,
}

impl DeadLetterLine {
    /// Says that a dead letter has come.
    pub(crate) fn write(letter: &CloudEvent) {
        let code = letter.attribute(ERROR_CODE);
        tracing::warn!(id = letter.id(), ty = letter.ty(), code = code.as_deref(), "{MESSAGE}");
    }

    /// What a line of the log says, if it is about a dead letter.
    pub fn read(line: &str) -> Option<Self> {
        let line: Value = serde_json::from_str(line).ok()?;
        let field = |name: &str| line[name].as_str().map(str::to_owned);
        (line["message"] == MESSAGE).then_some(())?;
        Some(Self { id: field("id")?, ty: field("ty")?, code: field("code") })
    }
}
