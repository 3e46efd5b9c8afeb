//! The variables that a container starts with.

use std::collections::BTreeMap;

use super::application::Application;
use super::container::{EnvFromKind, EnvSource, KeyReference};
use super::service::Service;

/// A variable or a set of variables that cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {reason}")]
pub struct MissingVariable {
    /// Path of the entry in the service's document.
    pub path: String,
    /// What is missing.
    pub reason: String,
}

impl Application {
    /// The variables of a service's container from `envFrom` and `env`, in this order, later ones winning.
    ///
    /// `known` are variables that the runtime sets itself; `$(NAME)` in a value may refer to them. The runtime's own
    /// are not part of the answer.
    ///
    /// # Errors
    ///
    /// Every `ConfigMap`, `Secret` or key that is missing and not optional.
    pub fn environment(
        &self,
        service: &Service,
        known: &BTreeMap<String, String>,
    ) -> Result<BTreeMap<String, String>, Vec<MissingVariable>> {
        let mut faults = Vec::new();
        let mut variables = BTreeMap::new();
        let namespace = service.metadata.namespace.as_str();
        let container = &service.template.container;
        for from in &container.env_from {
            match self.values(from.kind, namespace, &from.name) {
                Some(values) => {
                    variables.extend(values.into_iter().map(|(key, value)| (format!("{}{key}", from.prefix), value)));
                }
                None if from.optional => {}
                None => faults.push(MissingVariable {
                    path: from.path.clone(),
                    reason: format!("there is no {} `{}` in namespace {namespace}", name_of(from.kind), from.name),
                }),
            }
        }
        for entry in &container.env {
            let found = match &entry.source {
                EnvSource::Value(text) => {
                    Ok(Some(expand(text, |name| variables.get(name).or_else(|| known.get(name)))))
                }
                EnvSource::ConfigMapKey(key) => self.value(EnvFromKind::ConfigMap, namespace, key),
                EnvSource::SecretKey(key) => self.value(EnvFromKind::Secret, namespace, key),
            };
            match found {
                Ok(Some(value)) => {
                    variables.insert(entry.name.clone(), value);
                }
                Ok(None) => {}
                Err(reason) => faults.push(MissingVariable { path: entry.path.clone(), reason }),
            }
        }
        if faults.is_empty() { Ok(variables) } else { Err(faults) }
    }

    fn value(&self, kind: EnvFromKind, namespace: &str, key: &KeyReference) -> Result<Option<String>, String> {
        let values = self.values(kind, namespace, &key.name);
        let missing = match &values {
            None => format!("there is no {} `{}` in namespace {namespace}", name_of(kind), key.name),
            Some(_) => format!("{} `{}` has no key `{}`", name_of(kind), key.name, key.key),
        };
        match values.and_then(|mut values| values.remove(&key.key)) {
            Some(value) => Ok(Some(value)),
            None if key.optional => Ok(None),
            None => Err(missing),
        }
    }

    /// All values of an object as text; bytes that are no text are shown with replacement characters.
    fn values(&self, kind: EnvFromKind, namespace: &str, name: &str) -> Option<BTreeMap<String, String>> {
        match kind {
            EnvFromKind::ConfigMap => self
                .config_maps
                .iter()
                .find(|map| map.metadata.name == name && map.metadata.namespace == namespace)
                .map(|map| map.data.clone()),
            EnvFromKind::Secret => self
                .secrets
                .iter()
                .find(|secret| secret.metadata.name == name && secret.metadata.namespace == namespace)
                .map(|secret| {
                    let text = |bytes: &Vec<u8>| String::from_utf8_lossy(bytes).into_owned();
                    secret.data.iter().map(|(key, bytes)| (key.clone(), text(bytes))).collect()
                }),
        }
    }
}

fn name_of(kind: EnvFromKind) -> &'static str {
    match kind {
        EnvFromKind::ConfigMap => "ConfigMap",
        EnvFromKind::Secret => "Secret",
    }
}

/// Replaces `$(NAME)` by the variable's value; an unknown name stays as it is, and `$$` stands for `$`.
fn expand<'a>(text: &str, lookup: impl Fn(&str) -> Option<&'a String>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        let (before, from) = rest.split_at(at);
        out.push_str(before);
        if let Some(after) = from.strip_prefix("$$") {
            out.push('$');
            rest = after;
        } else if let Some((name, after)) = from.strip_prefix("$(").and_then(|inner| inner.split_once(')')) {
            match lookup(name) {
                Some(value) => out.push_str(value),
                None => out.push_str(&from[..from.len() - after.len()]),
            }
            rest = after;
        } else {
            out.push('$');
            rest = &from[1..];
        }
    }
    out.push_str(rest);
    out
}
