//! Why a process ends, as a person reads it.

use std::fmt;

/// The error of a function's `main`: any error with its causes, in words instead of Rust's notation.
pub struct Fatal(Box<dyn std::error::Error + Send + Sync>);

impl<E: std::error::Error + Send + Sync + 'static> From<E> for Fatal {
    fn from(error: E) -> Self {
        Self(Box::new(error))
    }
}

impl fmt::Debug for Fatal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&regrove_events::with_causes(&*self.0))
    }
}
