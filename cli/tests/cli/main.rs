//! The `regrove` command as a user runs it, in a terminal and in a pipe.

#![expect(clippy::unwrap_used, clippy::panic, reason = "what fails here fails the test")]

mod inspect;
mod reading;
mod up;
