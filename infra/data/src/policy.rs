//! What may be read on behalf of an event.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

use url::{Host, Url};

use crate::{Error, Location, Scheme};

/// What is allowed when nothing is said.
const USUAL: &str = "https:,s3:,gs:,az:";

/// Which locations may be read. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Policy {
    rules: Vec<Rule>,
    root: Option<PathBuf>,
    /// A person asks for what is theirs: nothing is refused.
    anything: bool,
}

/// One entry of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Rule {
    scheme: String,
    /// Any host when there is none; then public addresses only.
    host: Option<String>,
    port: Option<u16>,
    /// What the path must begin with.
    path: String,
}

impl Policy {
    /// Everything: for a person who reads what is theirs.
    pub fn anything() -> Self {
        Self { rules: Vec::new(), root: None, anything: true }
    }

    /// What an event may name: the list (see [`crate::DataArgs`]), and files below `root` if that is given.
    ///
    /// # Errors
    /// [`Error::Setting`] for an entry that is none.
    pub fn for_events(list: Option<&str>, root: Option<&Path>) -> Result<Self, Error> {
        let entries = list.unwrap_or(USUAL).split(',').map(str::trim).filter(|entry| !entry.is_empty());
        let mut rules = entries.map(Rule::parse).collect::<Result<Vec<_>, _>>()?;
        if root.is_some() {
            rules.push(Rule { scheme: "file".to_owned(), host: None, port: None, path: String::new() });
        }
        Ok(Self { rules, root: root.map(Path::to_owned), anything: false })
    }

    /// Checks where a data set is said to lie; for web servers each redirect too.
    ///
    /// # Errors
    /// [`Error::NotAllowed`].
    pub fn check(&self, location: &Location) -> Result<(), Error> {
        let url = location.url();
        let refuse = |reason: String| Err(Error::NotAllowed { uri: url.to_string(), reason });
        if self.anything {
            return Ok(());
        }
        let Some(rule) = self.rule_for(url) else {
            return refuse(format!(
                "`{}` is not among what REGROVE_DATA_ALLOW allows ({})",
                origin(url),
                self.rules.iter().map(Rule::text).collect::<Vec<_>>().join(",")
            ));
        };
        // Names are looked up later: `resolver` applies the same rule to what they stand for.
        match url.host() {
            _ if rule.host.is_some() || location.scheme() != Scheme::Http => Ok(()),
            Some(Host::Ipv4(address)) if !is_public(address.into()) => refuse(private(&address.to_string())),
            Some(Host::Ipv6(address)) if !is_public(address.into()) => refuse(private(&address.to_string())),
            Some(Host::Domain(name)) if is_local_name(name) => refuse(private(name)),
            _ => Ok(()),
        }
    }

    /// The real path of a file or folder.
    ///
    /// # Errors
    /// [`Error::NotAllowed`] outside the allowed folder, whether there is anything or not; [`Error::Io`] when that folder is
    /// not there; what `refused` makes of the system's answer inside.
    pub fn real_path(&self, path: &Path, refused: impl FnOnce(io::Error) -> Error) -> Result<PathBuf, Error> {
        let real = path.canonicalize();
        let Some(root) = &self.root else { return real.map_err(refused) };
        let allowed = root.canonicalize().map_err(|source| Error::io(root.display(), source))?;
        let inside = match &real {
            Ok(real) => real.starts_with(&allowed),
            // Where it would be is told by what is there of its path.
            Err(_) => path
                .ancestors()
                .find_map(|part| part.canonicalize().ok())
                .is_some_and(|part| part.starts_with(&allowed)),
        };
        if inside {
            return real.map_err(refused);
        }
        let reason = format!("it lies outside the allowed folder `{}` (REGROVE_DATA_ROOT)", root.display());
        Err(Error::NotAllowed { uri: path.display().to_string(), reason })
    }

    /// Whether a host may stand for a private address: only where it is named.
    pub(crate) fn allows_address(&self, host: &str, address: IpAddr) -> bool {
        let named = |rule: &Rule| rule.host.as_deref().is_some_and(|pattern| host_fits(pattern, host));
        self.anything || is_public(address) || self.rules.iter().any(named)
    }

    fn rule_for(&self, url: &Url) -> Option<&Rule> {
        let mut fitting: Vec<&Rule> = self.rules.iter().filter(|rule| rule.fits(url)).collect();
        // A rule with a host says more than one without.
        fitting.sort_by_key(|rule| rule.host.is_none());
        fitting.first().copied()
    }
}

impl Rule {
    fn parse(entry: &str) -> Result<Self, Error> {
        let wrong = |reason: &str| {
            let reason = format!("entry `{entry}`: {reason}; expected https:, http://HOST:PORT or s3://BUCKET/PREFIX");
            Error::Setting { field: "REGROVE_DATA_ALLOW", reason }
        };
        let (scheme, rest) = entry.split_once(':').ok_or_else(|| wrong("no scheme"))?;
        if scheme != "file" && Location::parse(&format!("{scheme}://host/x")).is_err() {
            return Err(wrong("unknown scheme"));
        }
        if rest.is_empty() {
            return Ok(Self { scheme: scheme.to_owned(), host: None, port: None, path: String::new() });
        }
        // A star is no part of a URL, but it may stand for the first part of a name.
        let starred = rest.strip_prefix("//*.").map(|rest| format!("{scheme}://star.{rest}"));
        let url = Url::parse(starred.as_deref().unwrap_or(entry)).map_err(|error| wrong(&error.to_string()))?;
        let host = rest.starts_with("//").then(|| url.host_str().unwrap_or_default().to_owned());
        let host = host.filter(|host| !host.is_empty());
        if rest.starts_with("//") && host.is_none() && scheme != "file" {
            return Err(wrong("no host"));
        }
        let host = host.map(|host| match host.strip_prefix("star.") {
            Some(domain) if starred.is_some() => format!("*.{domain}"),
            _ => host,
        });
        let path = if rest.starts_with("//") { url.path().trim_end_matches('/').to_owned() } else { String::new() };
        Ok(Self { scheme: scheme.to_owned(), host, port: url.port(), path })
    }

    fn fits(&self, url: &Url) -> bool {
        let host = url.host_str().unwrap_or_default();
        let below = url.path().strip_prefix(self.path.as_str());
        self.scheme == url.scheme()
            && self.host.as_deref().is_none_or(|pattern| host_fits(pattern, host))
            && (self.host.is_none() || self.port == url.port())
            && below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || self.path.is_empty())
    }

    fn text(&self) -> String {
        match (&self.host, self.port) {
            (None, _) => format!("{}:", self.scheme),
            (Some(host), None) => format!("{}://{host}{}", self.scheme, self.path),
            (Some(host), Some(port)) => format!("{}://{host}:{port}{}", self.scheme, self.path),
        }
    }
}

fn host_fits(pattern: &str, host: &str) -> bool {
    match pattern.strip_prefix("*.") {
        Some(domain) => host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.')),
        None => pattern.eq_ignore_ascii_case(host),
    }
}

fn origin(url: &Url) -> String {
    match url.host_str() {
        Some(host) => format!("{}://{host}", url.scheme()),
        None => format!("{}:", url.scheme()),
    }
}

fn private(host: &str) -> String {
    format!("`{host}` is no public address; name the host in REGROVE_DATA_ALLOW to allow it")
}

/// Names that never leave the machine.
fn is_local_name(name: &str) -> bool {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    name == "localhost" || name.ends_with(".localhost")
}

/// Whether an address is one of the open internet: not this machine, its network, or a cloud's metadata service.
pub(crate) fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [first, second, ..] = address.octets();
    let shared = first == 100 && (64..128).contains(&second);
    let reserved = first == 0 || first >= 240;
    let benchmark = first == 198 && (second == 18 || second == 19);
    !(address.is_loopback()
        || address.is_private()
        || address.is_link_local()
        || address.is_multicast()
        || address.is_documentation()
        || shared
        || reserved
        || benchmark)
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    // An IPv4 address in other clothes: mapped, compatible, NAT64, 6to4.
    let segments = address.segments();
    let lower = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        Ipv4Addr::new(a, b, c, d)
    };
    let inner = match segments {
        [0, 0, 0, 0, 0, 0xffff | 0, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => {
            Some(lower(high, low))
        }
        _ => None,
    };
    let local = address.is_loopback()
        || address.is_unspecified()
        || address.is_multicast()
        || address.is_unique_local()
        || address.is_unicast_link_local();
    !local && inner.is_none_or(is_public_v4)
}
