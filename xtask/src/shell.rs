//! Running other programs: where they run, what is shown, how long they took.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fmt::Display;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};

/// Folders that Debian leaves out of an ordinary user's `PATH`.
const SYSTEM_BIN_DIRS: [&str; 4] = ["/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/bin"];

/// The checkout and its build folder, both absolute.
#[derive(Debug)]
pub(crate) struct Workspace {
    /// The folder of the workspace's `Cargo.toml`.
    pub(crate) root: PathBuf,
    /// Cargo's target folder, the one that this program was built into.
    pub(crate) target: PathBuf,
}

impl Workspace {
    /// Finds both without asking cargo: this program lies in `<target>/<profile>/`.
    ///
    /// # Errors
    ///
    /// When the program was moved out of the target folder or the checkout was moved since the build.
    pub(crate) fn find() -> Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"))
            .parent()
            .filter(|root| root.join("Cargo.lock").is_file())
            .with_context(|| {
                format!(
                    "no Cargo.lock above {}: the checkout was moved; run `cargo clean -p xtask` and try again",
                    env!("CARGO_MANIFEST_DIR")
                )
            })?
            .to_path_buf();
        let executable = env::current_exe().context("the path of this program is unknown")?;
        let target = executable
            .ancestors()
            .nth(2)
            .with_context(|| format!("{} is not in a target folder", executable.display()))?
            .to_path_buf();
        Ok(Self { root, target })
    }

    /// Where programs that only the checks need are installed.
    pub(crate) fn tools(&self) -> PathBuf {
        self.target.join("tools")
    }

    /// A Python environment.
    pub(crate) fn venv(&self, name: &str) -> PathBuf {
        self.target.join(name)
    }

    /// A command that runs in the workspace's root and finds the installed tools last on its `PATH`.
    pub(crate) fn command(&self, program: impl AsRef<OsStr>) -> Result<Command> {
        let mut command = Command::new(program);
        command.current_dir(&self.root).env("PATH", self.path_with(&[])?);
        Ok(command)
    }

    /// The cargo that started this program.
    pub(crate) fn cargo(&self) -> Result<Command> {
        self.command(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
    }

    /// `PATH` with `first` in front and the installed tools at the end.
    pub(crate) fn path_with(&self, first: &[PathBuf]) -> Result<OsString> {
        let inherited = env::var_os("PATH").unwrap_or_default();
        let folders = first.iter().cloned().chain(env::split_paths(&inherited)).chain([self.tools().join("bin")]);
        env::join_paths(folders).context("a folder on PATH contains a colon")
    }

    /// Whether `program` is on `PATH`, among the installed tools, or where Debian keeps daemons.
    pub(crate) fn which(&self, program: &str) -> Result<Option<PathBuf>> {
        let path = self.path_with(&[])?;
        Ok(env::split_paths(&path)
            .chain(SYSTEM_BIN_DIRS.iter().map(PathBuf::from))
            .map(|folder| folder.join(program))
            .find(|candidate| candidate.is_file()))
    }

    /// Holds until dropped what two installations at once would break.
    pub(crate) fn lock_installs(&self) -> Result<File> {
        fs::create_dir_all(&self.target)?;
        let path = self.target.join(".xtask-install.lock");
        let lock = File::create(&path).with_context(|| format!("create {}", path.display()))?;
        lock.lock().with_context(|| format!("lock {}", path.display()))?;
        Ok(lock)
    }
}

/// Where cargo keeps what it downloads.
pub(crate) fn cargo_home() -> Option<PathBuf> {
    let cargo_home = env::var_os("CARGO_HOME").map(PathBuf::from);
    cargo_home.or_else(|| Some(env::home_dir()?.join(".cargo")))
}

/// Writes one line for the person who watches. Standard error, as cargo and nextest do, keeps the order.
pub(crate) fn say(line: impl Display) {
    // Nobody is left to tell when standard error is closed.
    let _ = writeln!(io::stderr(), "{line}");
}

/// Runs one named step, and says its name before and its time after.
///
/// # Errors
///
/// The step's own error, with the step's name.
pub(crate) fn step<T>(name: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    say(format_args!("\n==> {name}"));
    let start = Instant::now();
    let result = work().with_context(|| format!("step `{name}` failed"));
    let verdict = if result.is_ok() { "done" } else { "FAILED" };
    say(format_args!("==> {name}: {verdict} in {:.1} s", start.elapsed().as_secs_f64()));
    result
}

/// Runs a command with its output shown.
///
/// # Errors
///
/// When it cannot be started or does not end with code 0; both name the command line.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot start {}", line(command)))?;
    if !status.success() {
        bail!("{} ended with {status}", line(command));
    }
    Ok(())
}

/// Runs a command and gives its standard output.
///
/// # Errors
///
/// As [`run`]; the message also carries what the command said.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("cannot start {}", line(command)))?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{} ended with {}: {text}{}", line(command), output.status, said.trim());
    }
    Ok(text)
}

/// The command line as a person would type it.
fn line(command: &Command) -> String {
    let words: Vec<_> =
        [command.get_program()].into_iter().chain(command.get_args()).map(OsStr::to_string_lossy).collect();
    format!("`{}`", words.join(" "))
}
