//! Name look-up that refuses private addresses, so that no name and no redirect leads a fetch into the inside.

use std::net::SocketAddr;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::Policy;
use crate::policy::is_public;

/// Looks names up as the system does, and keeps the addresses that the policy allows.
#[derive(Debug)]
pub(crate) struct Resolver {
    pub(crate) policy: Policy,
}

/// A name that stands for private addresses only.
#[derive(Debug, thiserror::Error)]
#[error("`{host}` is no public address ({address}); name the host in REGROVE_DATA_ALLOW to allow it")]
pub(crate) struct Private {
    host: String,
    address: std::net::IpAddr,
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let policy = self.policy.clone();
        let host = name.as_str().to_owned();
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((host.as_str(), 0)).await?.collect();
            let (allowed, refused): (Vec<_>, Vec<_>) =
                found.into_iter().partition(|address| policy.allows_address(&host, address.ip()));
            match refused.into_iter().find(|address| !is_public(address.ip())) {
                Some(address) if allowed.is_empty() => Err(Private { host, address: address.ip() }.into()),
                _ => Ok(Box::new(allowed.into_iter()) as Addrs),
            }
        })
    }
}
