//! The `regrove` command, run as a person or a script runs it.

use std::path::Path;
use std::process::Stdio;

use regrove_test_support::programs::binary;
use serde_json::Value;
use tokio::process::Command;

/// Variables of the developer's environment that would change what a command does. `CARGO` makes `regrove` build the
/// functions, as it does when cargo runs it.
const NOT_INHERITED: [&str; 16] = [
    "CARGO",
    "REDIS_URL",
    "REDIS_USERNAME",
    "REDIS_PASSWORD",
    "REGROVE_REDIS_CA",
    "REGROVE_DATA_ALLOW",
    "REGROVE_DATA_ROOT",
    "REGROVE_HOME",
    "REGROVE_BROKER",
    "REGROVE_GATEWAY",
    "REGROVE_NAMESPACE",
    "REGROVE_CONSOLE",
    "REGROVE_TOKEN",
    "MLFLOW_TRACKING_URI",
    "RUST_LOG",
    "PORT",
];

/// `regrove`, to be started in `folder` with a clean environment.
pub(crate) fn command(folder: &Path) -> std::process::Command {
    let mut command = std::process::Command::new(binary("regrove").unwrap());
    command.current_dir(folder).stdin(Stdio::null());
    for name in NOT_INHERITED {
        command.env_remove(name);
    }
    command
}

/// What a command has said.
#[derive(Debug, Clone)]
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Said {
    /// Standard output as one JSON value.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Standard output as a JSON value per line.
    #[track_caller]
    pub(crate) fn json_lines(&self) -> Vec<Value> {
        let read = |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        self.out.lines().map(read).collect()
    }

    /// The command has done what it was asked.
    #[track_caller]
    pub(crate) fn ok(self) -> Self {
        assert_eq!(self.code, Some(0), "{self:?}");
        self
    }

    /// The command has failed with this code, and its message has these words.
    #[track_caller]
    pub(crate) fn fails(&self, code: i32, words: &[&str]) {
        assert_eq!(self.code, Some(code), "{self:?}");
        for word in words {
            assert!(self.err.contains(word), "`{word}` is not said: {self:?}");
        }
    }
}

/// Runs a command to its end.
pub(crate) async fn run(command: std::process::Command) -> Said {
    let output = Command::from(command).kill_on_drop(true).output().await.unwrap();
    let said = Said {
        code: output.status.code(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    };
    assert!(![&said.out, &said.err].iter().any(|text| text.contains('\x1b')), "a pipe gets plain text: {said:?}");
    said
}
