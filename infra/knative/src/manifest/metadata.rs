//! `metadata` of an object, and references between objects.

use std::collections::BTreeMap;

use super::fields::{Cursor, Fields};

/// Namespace of objects that name none.
pub const DEFAULT_NAMESPACE: &str = "default";

/// Longest DNS label, RFC 1123.
const LABEL_LENGTH_MAX: usize = 63;

/// Longest DNS subdomain name, RFC 1123.
const SUBDOMAIN_LENGTH_MAX: usize = 253;

/// What every object carries.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Metadata {
    /// Name, unique among the objects of its kind and namespace.
    pub name: String,
    /// Namespace; [`DEFAULT_NAMESPACE`] when the manifest gives none.
    pub namespace: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
}

/// `metadata` members that only the API server writes, or that have no meaning on one machine.
const UNUSED: [&str; 11] = [
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "finalizers",
    "generation",
    "managedFields",
    "ownerReferences",
    "resourceVersion",
    "selfLink",
    "uid",
    "clusterName",
];

impl Metadata {
    /// Reads `metadata` of a top-level object; `label` says that the name becomes part of a host name.
    pub(crate) fn read(document: &mut Fields<'_>, label: bool) -> Self {
        let Some(mut fields) = document.required("metadata").and_then(|node| node.fields()) else {
            return Self::default();
        };
        let name = fields.required_string("name").unwrap_or_default();
        if !name.is_empty() && !is_name(&name, label) {
            let form = if label {
                "a lower-case DNS label: letters, digits and '-', starting with a letter, at most 63 characters"
            } else {
                "a lower-case DNS name: letters, digits, '-' and '.', at most 253 characters"
            };
            fields.error("name", format!("invalid value: {name}: must be {form}"));
        }
        let namespace = fields.string("namespace").unwrap_or_else(|| DEFAULT_NAMESPACE.to_owned());
        if !is_label(&namespace) {
            fields.error("namespace", format!("invalid value: {namespace}: must be a lower-case DNS label"));
        }
        let labels = fields.string_map("labels");
        let annotations = fields.string_map("annotations");
        fields.accept(&UNUSED);
        fields.refuse(&["generateName"], "give the object a name");
        fields.finish();
        Self { name, namespace, labels, annotations }
    }

    /// Reads `metadata` of a template, where the name is optional and a namespace has no place.
    pub(crate) fn read_template(template: &mut Fields<'_>) -> (Option<String>, Self) {
        let Some(mut fields) = template.get("metadata").and_then(|node| node.fields()) else {
            return (None, Self::default());
        };
        let name = fields.string("name").filter(|name| !name.is_empty());
        let labels = fields.string_map("labels");
        let annotations = fields.string_map("annotations");
        fields.accept(&UNUSED);
        fields.accept(&["namespace", "generateName"]);
        fields.finish();
        (name, Self { labels, annotations, ..Self::default() })
    }
}

/// A DNS-1123 label.
pub(crate) fn is_label(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    !text.is_empty()
        && text.len() <= LABEL_LENGTH_MAX
        && text.bytes().all(|byte| inner(byte) || byte == b'-')
        && text.bytes().next().is_some_and(inner)
        && text.bytes().next_back().is_some_and(inner)
}

/// A DNS-1035 label: a DNS-1123 label that starts with a letter.
pub(crate) fn is_letter_label(text: &str) -> bool {
    is_label(text) && text.starts_with(|first: char| first.is_ascii_lowercase())
}

fn is_name(text: &str, label: bool) -> bool {
    if label { is_letter_label(text) } else { text.len() <= SUBDOMAIN_LENGTH_MAX && text.split('.').all(is_label) }
}

/// A reference to an object, by kind and name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// API group and version, e.g. `serving.knative.dev/v1`.
    pub api_version: String,
    /// Kind, e.g. `Service`.
    pub kind: String,
    /// Name.
    pub name: String,
    /// Namespace; that of the referring object when absent.
    pub namespace: Option<String>,
}

impl Reference {
    pub(crate) fn read(node: &Cursor<'_>) -> Option<Self> {
        let mut fields = node.fields()?;
        let api_version = fields.required_string("apiVersion");
        let kind = fields.required_string("kind");
        let name = fields.required_string("name");
        let namespace = fields.string("namespace").filter(|text| !text.is_empty());
        fields.accept(&["address", "group"]);
        fields.finish();
        Some(Self { api_version: api_version?, kind: kind?, name: name?, namespace })
    }
}

/// Where events go: an addressable object, an URI, or an URI relative to an object's address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    /// The addressable object.
    pub reference: Option<Reference>,
    /// An absolute URI when there is no reference, else a path relative to the reference's address.
    pub uri: Option<String>,
}

/// Whether `uri` has a scheme and a host.
fn is_absolute(uri: &str) -> bool {
    uri.split_once("://").is_some_and(|(scheme, rest)| {
        scheme.starts_with(|first: char| first.is_ascii_alphabetic())
            && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
            && !rest.split(['/', '?', '#']).next().unwrap_or_default().is_empty()
    })
}

impl Destination {
    /// The URL of the destination, given the address of its reference (unless it has none).
    ///
    /// A `uri` beside a reference is resolved against that address as RFC 3986 says: `/path` replaces the address's
    /// path. `None` when there is a reference without an address, or when the result is no URL.
    pub fn resolve(&self, address: Option<&str>) -> Option<String> {
        let url = match (&self.reference, &self.uri) {
            (None, Some(uri)) => url::Url::parse(uri).ok()?,
            (Some(_), None) => url::Url::parse(address?).ok()?,
            (Some(_), Some(uri)) => url::Url::parse(address?).ok()?.join(uri).ok()?,
            (None, None) => return None,
        };
        Some(url.into())
    }

    pub(crate) fn read(node: &Cursor<'_>) -> Option<Self> {
        let mut fields = node.fields()?;
        let destination = Self::read_fields(&mut fields);
        fields.finish();
        destination
    }

    /// Reads the members of a destination out of an object that has further members, such as a Sequence's step.
    pub(crate) fn read_fields(fields: &mut Fields<'_>) -> Option<Self> {
        let reference_node = fields.get("ref");
        let uri = fields.string("uri");
        fields.accept(&["CACerts", "audience"]);
        if reference_node.is_none() && uri.is_none() {
            let paths = ["ref", "uri"].map(|name| super::fields::join(&fields.path, name)).join(", ");
            fields.findings.error(paths, "expected at least one, got none");
            return None;
        }
        let absolute = uri.as_deref().is_some_and(is_absolute);
        if reference_node.is_some() && absolute {
            fields.error("uri", "Absolute URI is not allowed when Ref or [apiVersion, kind, name] is present");
        }
        if reference_node.is_none() && !absolute {
            fields.error(
                "uri",
                "invalid value: Relative URI is not allowed when Ref and [apiVersion, kind, name] is absent",
            );
        }
        let reference = match reference_node {
            Some(node) => Some(Reference::read(&node)?),
            None => None,
        };
        Some(Self { reference, uri })
    }
}
