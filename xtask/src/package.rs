//! The functions as they are shipped: what goes into a container image, and what goes into a Lambda package.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};

use crate::shell::{self, Workspace, say};
use crate::{libraries, reproduce, sbom};

/// Certificate authorities of the machine that builds: rustls makes no client without any, not even for plain http.
const AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";
/// Manifests that say what goes into which queue.
const MANIFESTS: [&str; 3] = ["broker.yaml", "triggers.yaml", "ping.yaml"];
/// What Lambda starts.
const BOOTSTRAP: &str = "bootstrap";
/// Largest image in bytes, as it is shipped.
const IMAGE_BYTES_MAX: u64 = 15_000_000;
/// The profile of what is shipped.
const SHIPPED: &str = "dist";
/// Folder in `target` with the images' roots of the programs under test.
pub(crate) const TESTED: &str = "image-tested";
/// Name of the list of parts.
const PARTS: &str = "sbom.cdx.json";

/// What is to be made.
#[derive(Debug, Args)]
pub(crate) struct Package {
    /// For whom
    kind: Kind,
    /// Cargo's profile: `dist` is what is shipped, and takes half an hour of a processor
    #[arg(long, default_value = SHIPPED)]
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
    /// Builds nothing and takes the programs of this folder, with the libraries that they load. For tests
    #[arg(long, value_name = "DIR", conflicts_with_all = ["profile", "target", "twice"])]
    programs: Option<PathBuf>,
    /// Builds all of the last commit a second time, in another folder, and compares every byte
    #[arg(long)]
    twice: bool,
}

/// Whom a package is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// The root of a container's file system
    Images,
    /// A Lambda function's folder, with the feature `aws`
    Lambda,
}

impl Kind {
    /// As it is written on the command line.
    fn argument(self) -> &'static str {
        match self {
            Self::Images => "images",
            Self::Lambda => "lambda",
        }
    }

    fn folder(self) -> &'static str {
        match self {
            Self::Images => "image",
            Self::Lambda => "lambda",
        }
    }

    /// The feature that the functions are built with.
    fn features(self) -> Option<&'static str> {
        match self {
            Self::Images => None,
            Self::Lambda => Some("aws"),
        }
    }
}

/// Builds all functions in one pass, static, and lays out one folder for each.
///
/// # Errors
/// When the build fails, a file cannot be written, a program is not static, an image is too large, or a second build differs.
pub(crate) fn package(workspace: &Workspace, wanted: &Package) -> Result<()> {
    let (kind, features) = (wanted.kind, wanted.kind.features());
    let out = wanted.out.clone().unwrap_or_else(|| workspace.target.join(kind.folder()));
    let host = host(workspace)?;
    let target = wanted.target.clone().unwrap_or_else(|| host.clone());
    let functions = functions(workspace, features)?;
    let built = if let Some(programs) = &wanted.programs {
        programs.clone()
    } else {
        build(workspace, &functions, &wanted.profile, &target, features)?;
        // Cargo's name for the folder of the profile `dev`; all others are called like themselves.
        let folder = if wanted.profile == "dev" { "debug" } else { wanted.profile.as_str() };
        workspace.target.join(&target).join(folder)
    };
    if out.exists() {
        fs::remove_dir_all(&out).with_context(|| format!("remove {}", out.display()))?;
    }
    for name in &functions {
        let root = out.join(name);
        let program = root.join(if kind == Kind::Lambda { BOOTSTRAP } else { name.as_str() });
        copy(&built.join(name), &program)?;
        if wanted.programs.is_some() {
            libraries::join(workspace, &program, &root)?;
        } else if target == host {
            is_static(name, &libraries::of(workspace, &program)?)?;
        }
        lay_out(workspace, kind, &root)?;
        let parts = sbom::of(workspace, name, &target, features)?;
        fs::write(root.join(PARTS), parts).with_context(|| format!("write {}", root.display()))?;
        date(&root, SystemTime::UNIX_EPOCH + Duration::from_secs(wanted.date))?;
        let bytes = size(&root)?;
        say(format_args!("{name:<12} {bytes:>9} bytes  {}", root.display()));
        if kind == Kind::Images && wanted.programs.is_none() && wanted.profile == SHIPPED {
            is_small_enough(name, bytes)?;
        }
    }
    if wanted.twice {
        let again = ["package", kind.argument(), "--profile", &wanted.profile, "--target", &target];
        reproduce::compare(workspace, &again, wanted.date, &out)?;
    }
    Ok(())
}

/// What the tests make images of: their own programs, so that nothing is compiled again, in the places of those that are
/// shipped. They are not static: the libraries of this machine go along.
///
/// # Errors
/// As [`package`].
pub(crate) fn of_tests(workspace: &Workspace) -> Result<()> {
    package(
        workspace,
        &Package {
            kind: Kind::Images,
            profile: SHIPPED.to_owned(),
            target: None,
            out: Some(workspace.target.join(TESTED)),
            date: 0,
            programs: Some(workspace.target.join("debug")),
            twice: false,
        },
    )
}

/// What goes beside the program.
fn lay_out(workspace: &Workspace, kind: Kind, root: &Path) -> Result<()> {
    match kind {
        Kind::Images => copy(Path::new(AUTHORITIES), &root.join(AUTHORITIES.trim_start_matches('/'))),
        Kind::Lambda => MANIFESTS.iter().try_for_each(|manifest| {
            copy(&workspace.root.join("k8s/eventing").join(manifest), &root.join("manifests").join(manifest))
        }),
    }
}

/// Bytes of all files of a folder.
fn size(folder: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder).with_context(|| format!("read {}", folder.display()))? {
        let entry = entry?;
        let about = entry.metadata()?;
        bytes += if about.is_dir() { size(&entry.path())? } else { about.len() };
    }
    Ok(bytes)
}

fn is_small_enough(name: &str, bytes: u64) -> Result<()> {
    if bytes >= IMAGE_BYTES_MAX {
        bail!("the image of {name} has {bytes} bytes: it has to be smaller than {IMAGE_BYTES_MAX}");
    }
    Ok(())
}

/// An image has no library to load.
fn is_static(name: &str, loaded: &[PathBuf]) -> Result<()> {
    match loaded {
        [] => Ok(()),
        [library, ..] => bail!("{name} is to be static, but it loads {}", library.display()),
    }
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
    let ours = [(&workspace.root, "/src"), (&workspace.target, "/target"), (&cargo_home, "/cargo")];
    let renamed = |option: &str| {
        let each = ours.iter().map(|(path, name)| format!("{option}={}={name}", path.display()));
        each.collect::<Vec<_>>().join(" ")
    };
    // Places that the loader has to move are half a megabyte of a program, packed almost nothing.
    let packed = "-C link-arg=-Wl,-z,pack-relative-relocs";
    let flags = format!("-C target-feature=+crt-static {packed} {}", renamed("--remap-path-prefix"));
    // AWS-LC's name for leaving out AES-GCM in AVX-512: 0.7 MB for a speed that TLS to a store does not need.
    let small = "-DMY_ASSEMBLER_IS_TOO_OLD_FOR_512AVX";
    let mut cargo = workspace.cargo()?;
    // The target is named because the flags must not reach build scripts and macros.
    cargo.args(["build", "--locked", "--bins", "--profile", profile, "--target", target]);
    // Libraries in C write the same paths into their messages.
    cargo.env("RUSTFLAGS", flags).env("CFLAGS", format!("{small} {}", renamed("-ffile-prefix-map")));
    for name in functions {
        cargo.args(["--package", &format!("regrove-{name}")]);
        if let Some(features) = features {
            cargo.args(["--features", &format!("regrove-{name}/{features}")]);
        }
    }
    shell::run(&mut cargo)
}

/// Copies a file, and makes the folder that it goes into.
///
/// # Errors
/// When one of the two cannot be done.
pub(crate) fn copy(from: &Path, to: &Path) -> Result<()> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_files_of_an_image_count_and_there_is_a_limit() {
        let folder = std::env::temp_dir().join(format!("regrove-package-{}", std::process::id()));
        fs::create_dir_all(folder.join("etc/ssl")).unwrap();
        fs::write(folder.join("program"), [0; 100]).unwrap();
        fs::write(folder.join("etc/ssl/authorities"), [0; 23]).unwrap();
        assert_eq!(size(&folder).unwrap(), 123);
        fs::remove_dir_all(&folder).unwrap();
        assert!(is_small_enough("predict", IMAGE_BYTES_MAX - 1).is_ok());
        let refused = is_small_enough("predict", IMAGE_BYTES_MAX).unwrap_err().to_string();
        assert!(refused.starts_with("the image of predict has 15000000 bytes"), "{refused}");
        assert!(is_static("predict", &[]).is_ok());
        let refused = is_static("predict", &["/lib/libc.so.6".into()]).unwrap_err().to_string();
        assert_eq!(refused, "predict is to be static, but it loads /lib/libc.so.6");
    }
}
