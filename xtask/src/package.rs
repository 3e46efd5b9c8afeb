//! The functions as they are shipped: what goes into a container image, and what goes into a Lambda package.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};

use crate::sbom;
use crate::shell::{self, Workspace, say};

/// Certificate authorities of the machine that builds: rustls makes no client without any, not even for plain http.
const AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";
/// Manifests that say what goes into which queue.
const MANIFESTS: [&str; 3] = ["broker.yaml", "triggers.yaml", "ping.yaml"];
/// What Lambda starts.
const BOOTSTRAP: &str = "bootstrap";
/// Name of the list of parts.
const PARTS: &str = "sbom.cdx.json";

/// What is to be made.
#[derive(Debug, Args)]
pub(crate) struct Package {
    /// For whom
    kind: Kind,
    /// Cargo's profile: `dist` is a fifth smaller and takes minutes longer
    #[arg(long, default_value = "dist")]
    profile: String,
    /// Target triple; this machine's without it. Another one needs its linker
    #[arg(long, value_name = "TRIPLE")]
    target: Option<String>,
    /// Folder that gets one folder per function; `target/image` or `target/lambda` without it
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Seconds since 1970 that all files are dated to, so that the same programs make the same image
    #[arg(long, env = "SOURCE_DATE_EPOCH", default_value_t = 0, value_name = "SECONDS")]
    date: u64,
}

/// Whom a package is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// The root of a container's file system
    Images,
    /// A Lambda function's folder, with the feature `aws`
    Lambda,
}

/// Builds all functions in one pass, static, and lays out one folder for each.
///
/// # Errors
/// When the build fails, or a file cannot be written.
pub(crate) fn package(workspace: &Workspace, wanted: &Package) -> Result<()> {
    let (kind, features) = match wanted.kind {
        Kind::Images => ("image", None),
        Kind::Lambda => ("lambda", Some("aws")),
    };
    let out = wanted.out.clone().unwrap_or_else(|| workspace.target.join(kind));
    let target = match &wanted.target {
        Some(target) => target.clone(),
        None => host(workspace)?,
    };
    let functions = functions(workspace, features)?;
    build(workspace, &functions, &wanted.profile, &target, features)?;
    // Cargo's name for the folder of the profile `dev`; all others are called like themselves.
    let folder = if wanted.profile == "dev" { "debug" } else { wanted.profile.as_str() };
    let built = workspace.target.join(&target).join(folder);
    if out.exists() {
        fs::remove_dir_all(&out).with_context(|| format!("remove {}", out.display()))?;
    }
    for name in &functions {
        let root = out.join(name);
        let program = if wanted.kind == Kind::Lambda { BOOTSTRAP } else { name.as_str() };
        copy(&built.join(name), &root.join(program))?;
        match wanted.kind {
            Kind::Images => copy(Path::new(AUTHORITIES), &root.join(AUTHORITIES.trim_start_matches('/')))?,
            Kind::Lambda => {
                for manifest in MANIFESTS {
                    copy(&workspace.root.join("k8s").join(manifest), &root.join("manifests").join(manifest))?;
                }
            }
        }
        let parts = sbom::of(workspace, name, &target, features)?;
        fs::write(root.join(PARTS), parts).with_context(|| format!("write {}", root.display()))?;
        date(&root, SystemTime::UNIX_EPOCH + Duration::from_secs(wanted.date))?;
        let bytes = fs::metadata(root.join(program))?.len();
        say(format_args!("{:<12} {bytes:>9} bytes  {}", name, root.display()));
    }
    Ok(())
}

/// Every function that has the feature, by the name of its folder.
fn functions(workspace: &Workspace, feature: Option<&str>) -> Result<BTreeSet<String>> {
    let folder = workspace.root.join("functions");
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(&folder).with_context(|| format!("read {}", folder.display()))? {
        let entry = entry?;
        let Ok(manifest) = fs::read_to_string(entry.path().join("Cargo.toml")) else { continue };
        if feature.is_none_or(|name| manifest.lines().any(|line| line.starts_with(&format!("{name} = [")))) {
            names.extend(entry.file_name().into_string().ok());
        }
    }
    if names.is_empty() {
        bail!("{} holds no function", folder.display());
    }
    Ok(names)
}

fn host(workspace: &Workspace) -> Result<String> {
    let version = shell::output(workspace.command("rustc")?.arg("-vV"))?;
    let line = version.lines().find_map(|line| line.strip_prefix("host: "));
    line.map(str::to_owned).with_context(|| format!("no host in what rustc says of itself: {version}"))
}

fn build(
    workspace: &Workspace,
    functions: &BTreeSet<String>,
    profile: &str,
    target: &str,
    features: Option<&str>,
) -> Result<()> {
    let cargo_home = shell::cargo_home().context("neither CARGO_HOME nor HOME is set")?;
    // Static, so that the image needs no C library. Paths of this machine are no part of a program: panics would show
    // them, and another machine would make other bytes.
    let flags = format!(
        "-C target-feature=+crt-static --remap-path-prefix={}=/src --remap-path-prefix={}=/cargo",
        workspace.root.display(),
        cargo_home.display()
    );
    let mut cargo = workspace.cargo()?;
    // The target is named because the flags must not reach build scripts and macros.
    cargo.args(["build", "--locked", "--bins", "--profile", profile, "--target", target]).env("RUSTFLAGS", flags);
    for name in functions {
        cargo.args(["--package", &format!("regrove-{name}")]);
        if let Some(features) = features {
            cargo.args(["--features", &format!("regrove-{name}/{features}")]);
        }
    }
    shell::run(&mut cargo)
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    let folder = to.parent().with_context(|| format!("{} is in no folder", to.display()))?;
    fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
    fs::copy(from, to).with_context(|| format!("copy {} to {}", from.display(), to.display()))?;
    Ok(())
}

/// Dates a folder and all that is in it.
fn date(path: &Path, at: SystemTime) -> Result<()> {
    if path.is_dir() {
        for entry in fs::read_dir(path)? {
            date(&entry?.path(), at)?;
        }
    }
    File::open(path)?.set_modified(at).with_context(|| format!("date {}", path.display()))
}
