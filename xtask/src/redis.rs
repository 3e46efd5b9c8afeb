//! `redis-server` for the tests, which start their own servers on free ports.

use anyhow::{Context, Result, bail};

use crate::debian;
use crate::shell::{self, Workspace, say};

/// The oldest Redis whose stream commands the event log uses.
const VERSION_MIN: (u32, u32) = (6, 2);

/// Makes sure that a recent enough `redis-server` is there; installs Debian's when none is.
///
/// # Errors
///
/// When it is missing and cannot be installed, or is too old. The message says what to do.
pub(crate) fn ensure(workspace: &Workspace) -> Result<()> {
    if workspace.which("redis-server")?.is_none() {
        debian::install_service(workspace, "redis-server", "redis-server")
            .context("redis-server is not on PATH and could not be installed: install Redis 6.2 or newer by hand")?;
    }
    let server = workspace.which("redis-server")?.context("redis-server is still missing after its installation")?;
    let banner = shell::output(workspace.command(&server)?.arg("--version"))?;
    let version = version(&banner).with_context(|| format!("no version in the answer `{banner}`"))?;
    if version < VERSION_MIN {
        bail!(
            "{} is Redis {}.{}, the tests need {}.{} or newer: upgrade the package, or put a newer one first on PATH",
            server.display(),
            version.0,
            version.1,
            VERSION_MIN.0,
            VERSION_MIN.1
        );
    }
    say(format_args!("Redis {}.{} at {}", version.0, version.1, server.display()));
    Ok(())
}

/// Major and minor of `Redis server v=7.0.15 sha=…` or `Valkey server v=9.1.2 …`.
fn version(banner: &str) -> Option<(u32, u32)> {
    let number = banner.split_whitespace().find_map(|word| word.strip_prefix("v="))?;
    let mut parts = number.split('.').map(str::parse);
    Some((parts.next()?.ok()?, parts.next()?.ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_the_banner_of_redis_and_of_valkey() {
        let redis = "Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64 build=1";
        assert_eq!(version(redis), Some((7, 0)));
        assert_eq!(version("Valkey server v=9.1.2 sha=00000000:0"), Some((9, 1)));
        assert_eq!(version("Redis server"), None);
        assert_eq!(version("Redis server v=x.y.z"), None);
    }

    #[test]
    fn ten_is_newer_than_six() {
        assert!(version("v=10.0.1").is_some_and(|version| version >= VERSION_MIN));
        assert!(version("v=6.0.16").is_some_and(|version| version < VERSION_MIN));
    }
}
