//! What the browser tests need: Chromium with its driver, and axe-core, which finds what keeps people from using a page.

use anyhow::{Context, Result, bail};

use crate::debian;
use crate::npm;
use crate::shell::{self, Workspace, say};

/// Makes sure that there are `chromium` and `chromedriver` of one version, and `<target>/axe` with axe-core.
///
/// # Errors
///
/// When one of them is missing and cannot be installed.
pub(crate) fn ensure(workspace: &Workspace) -> Result<()> {
    for (program, package) in [("chromium", "chromium"), ("chromedriver", "chromium-driver")] {
        if workspace.which(program)?.is_none() {
            debian::install(workspace, package).with_context(|| format!("{program} is not on PATH: install it"))?;
        }
    }
    let major = |program: &str| -> Result<String> {
        let banner = shell::output(workspace.command(program)?.arg("--version"))?;
        major_version(&banner).with_context(|| format!("no version in the answer `{banner}` of {program}"))
    };
    let (browser, driver) = (major("chromium")?, major("chromedriver")?);
    if browser != driver {
        bail!("chromium is {browser}, chromedriver is {driver}: they must be of one version");
    }
    say(format_args!("Chromium {browser} and its driver"));
    npm::ensure(workspace, &npm::AXE)
}

/// The first number of `Chromium 150.0.7187.0 built on Debian` or `ChromeDriver 150.0.7187.0 (…)`.
fn major_version(banner: &str) -> Option<String> {
    let number = banner.split_whitespace().find(|word| word.starts_with(|first: char| first.is_ascii_digit()))?;
    Some(number.split('.').next()?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::major_version;

    #[test]
    fn the_version_is_read_from_both_banners() {
        assert_eq!(major_version("Chromium 150.0.7187.0 built on Debian GNU/Linux 12").as_deref(), Some("150"));
        assert_eq!(major_version("ChromeDriver 150.0.7187.0 (abc-refs/heads)").as_deref(), Some("150"));
        assert_eq!(major_version("none"), None);
    }
}
