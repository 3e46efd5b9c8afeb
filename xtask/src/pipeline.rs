//! The steps of `check` and `test`, in the order in which they fail soonest.

use std::fs;
use std::panic::resume_unwind;
use std::path::PathBuf;
use std::thread;

use anyhow::Result;

use crate::shell::{Workspace, cargo_home, run, say, step};
use crate::tools::{DENY, NEXTEST};
use crate::{browser, containers, debian, disk, npm, package, python, redis, tools};

/// Formatting, lints and the dependency policy.
///
/// # Errors
///
/// The first step that fails.
pub(crate) fn check(workspace: &Workspace) -> Result<()> {
    step("install cargo-deny", || {
        let _lock = workspace.lock_installs()?;
        tools::ensure(workspace, &DENY)
    })?;
    checks(workspace)
}

/// Installs what the tests need; a second call finds all of it and takes a second.
///
/// # Errors
///
/// When a program or service is missing and cannot be installed.
pub(crate) fn setup(workspace: &Workspace) -> Result<()> {
    let _lock = workspace.lock_installs()?;
    programs(workspace)?;
    environments(workspace)
}

fn programs(workspace: &Workspace) -> Result<()> {
    step("install Redis", || redis::ensure(workspace))?;
    step("install Chromium and axe-core", || browser::ensure(workspace))?;
    step("install Docker", || containers::ensure(workspace))?;
    step("install cargo-deny", || tools::ensure(workspace, &DENY))?;
    step("install cargo-nextest", || tools::ensure(workspace, &NEXTEST))
}

fn environments(workspace: &Workspace) -> Result<()> {
    step("install MLflow and the Python clients", || python::ensure(workspace, &python::TESTS))?;
    step("install what stands in for clouds and clusters", || python::ensure(workspace, &python::PLATFORM))?;
    step("install what stands in for Azure", || npm::ensure(workspace, &npm::AZURITE))?;
    step("install the clients of Triton and KServe", || python::ensure(workspace, &python::CLIENTS))?;
    step("install older versions of ONNX Runtime", || {
        python::ONNX_RUNTIMES.iter().try_for_each(|environment| python::ensure(workspace, environment))
    })
}

/// Installs the other programs, builds ours and measures.
///
/// # Errors
///
/// When something cannot be installed, or the measurement fails.
pub(crate) fn bench(workspace: &Workspace, bench_args: &[String]) -> Result<()> {
    {
        let _lock = workspace.lock_installs()?;
        step("install the other programs", || python::ensure(workspace, &python::PEERS))?;
        // Without it its line of the table says so.
        if workspace.which("Rscript")?.is_none()
            && let Err(error) = step("install ranger", || debian::install(workspace, "r-cran-ranger"))
        {
            say(format_args!("ranger is left out: {error:#}"));
        }
    }
    let build = ["build", "--release", "--locked", "-p", "regrove-benches", "--bin", "bench-forest"];
    step("build", || run(workspace.cargo()?.args(build)))?;
    let python = workspace.venv(python::PEERS.venv).join("bin/python");
    run(workspace.command(workspace.target.join("release/bench-forest"))?.arg("--python").arg(python).args(bench_args))
}

/// Everything. Nothing is printed after the test runner's summary.
///
/// # Errors
///
/// The first step that fails.
pub(crate) fn test(workspace: &Workspace, no_check: bool, nextest_args: &[String]) -> Result<()> {
    {
        let _lock = workspace.lock_installs()?;
        step("room on disk", || disk::ensure(workspace))?;
        programs(workspace)?;
        // Packages come over the network while the compiler keeps the processors busy.
        thread::scope(|scope| {
            let installed = scope.spawn(|| environments(workspace));
            let built = build(workspace, no_check);
            let installed = installed.join().unwrap_or_else(|panic| resume_unwind(panic));
            built.and(installed)
        })?;
    }
    say("\n==> tests");
    let venv = workspace.venv(python::TESTS.venv);
    run(workspace
        .cargo()?
        .args(["nextest", "run", "--workspace", "--locked"])
        .args(nextest_args)
        .env("REGROVE_TEST_VENV", &venv)
        .env("REGROVE_TEST_PLATFORM_VENV", workspace.venv(python::PLATFORM.venv))
        .env("REGROVE_TEST_CLIENTS_VENV", workspace.venv(python::CLIENTS.venv))
        .env("REGROVE_TEST_AXE", workspace.target.join(npm::AXE.folder))
        .env("REGROVE_TEST_AZURITE", workspace.target.join(npm::AZURITE.folder))
        .env("REGROVE_TEST_BIN_DIR", workspace.target.join("debug"))
        .env("REGROVE_TEST_IMAGES", workspace.target.join(package::TESTED))
        .env("PATH", workspace.path_with(&[venv.join("bin")])?))
}

/// What only the compiler is needed for.
fn build(workspace: &Workspace, no_check: bool) -> Result<()> {
    if !no_check {
        checks(workspace)?;
    }
    // Together with the tests: alone, the programs would be built with fewer features, and everything twice.
    step("build", || run(workspace.cargo()?.args(["build", "--workspace", "--locked", "--bins", "--tests"])))?;
    step("documentation tests", || {
        run(workspace.cargo()?.args(["test", "--doc", "--workspace", "--locked", "--quiet"]))
    })?;
    step("images of the programs under test", || package::of_tests(workspace))
}

/// Fetches the advisory database, then checks `Cargo.lock` against it.
///
/// # Errors
///
/// When the database cannot be had, or an advisory applies.
pub(crate) fn advisories(workspace: &Workspace) -> Result<()> {
    step("install cargo-deny", || {
        let _lock = workspace.lock_installs()?;
        tools::ensure(workspace, &DENY)
    })?;
    step("advisories", || run(workspace.cargo()?.args(["deny", "--locked", "check", "advisories"])))
}

fn checks(workspace: &Workspace) -> Result<()> {
    step("formatting", || run(workspace.cargo()?.args(["fmt", "--all", "--check"])))?;
    step("lints", || {
        run(workspace
            .cargo()?
            // The functions have AWS because the tests ask for it; nobody asks for the command's.
            .args(["clippy", "--workspace", "--locked", "--all-targets", "--features", "regrove/aws"])
            .args(["--", "-D", "warnings"]))
    })?;
    step("dependency policy", || dependency_policy(workspace))
}

/// Licences, sources and bans always; advisories when their database is on this machine.
fn dependency_policy(workspace: &Workspace) -> Result<()> {
    run(workspace.cargo()?.args(["deny", "--locked", "check", "bans", "licenses", "sources"]))?;
    let database = advisory_databases();
    let present = database.as_ref().is_some_and(|folder| fs::read_dir(folder).is_ok_and(|entries| entries.count() > 0));
    if !present {
        say("advisories: NOT CHECKED, their database is not on this machine; `cargo xtask advisories` fetches it");
        return Ok(());
    }
    run(workspace.cargo()?.args(["deny", "--locked", "check", "--disable-fetch", "advisories"]))
}

/// Where cargo-deny keeps the databases that it fetched.
fn advisory_databases() -> Option<PathBuf> {
    Some(cargo_home()?.join("advisory-dbs"))
}
