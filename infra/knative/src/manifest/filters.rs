//! Which events a trigger wants, as written.

use std::collections::BTreeMap;

use super::fields::Cursor;

/// Deepest nesting of `all`, `any` and `not` that is read.
pub const FILTER_DEPTH_MAX: usize = 32;

/// The two filters of a trigger; `filters`, when it has entries, overrides `attributes`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TriggerFilter {
    /// `spec.filter.attributes`: exact values, the empty one for any.
    pub attributes: Option<BTreeMap<String, String>>,
    /// `spec.filters`: all must hold.
    pub filters: Vec<FilterSpec>,
}

/// One entry of `spec.filters`, in one dialect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FilterSpec {
    /// An entry without a dialect: every event.
    Everything,
    /// Attributes with exactly these values.
    Exact(BTreeMap<String, String>),
    /// Attributes that start with these values.
    Prefix(BTreeMap<String, String>),
    /// Attributes that end with these values.
    Suffix(BTreeMap<String, String>),
    /// All of these hold.
    All(Vec<FilterSpec>),
    /// One of these holds.
    Any(Vec<FilterSpec>),
    /// This does not hold.
    Not(Box<FilterSpec>),
    /// A `CloudEvents` SQL expression.
    Cesql(String),
}

/// The dialects, in the order in which upstream looks for them.
const DIALECTS: [&str; 7] = ["exact", "prefix", "suffix", "all", "any", "not", "cesql"];

/// Whether `name` may be an attribute's name in a filter.
pub(crate) fn is_attribute_name(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
}

impl FilterSpec {
    pub(crate) fn read(node: &Cursor<'_>) -> Option<Self> {
        Self::read_at(node, 1)
    }

    fn read_at(node: &Cursor<'_>, depth: usize) -> Option<Self> {
        if depth > FILTER_DEPTH_MAX {
            node.error(format!("filters are nested deeper than {FILTER_DEPTH_MAX} levels"));
            return None;
        }
        let mut fields = node.fields()?;
        let given: Vec<(&str, Cursor<'_>)> =
            DIALECTS.iter().filter_map(|name| Some((*name, fields.get(name)?))).collect();
        fields.finish();
        let [(dialect, value)] = given.as_slice() else {
            if given.is_empty() {
                return Some(Self::Everything);
            }
            let names: Vec<&str> = given.iter().map(|(name, _)| *name).collect();
            node.error(format!(
                "multiple dialects found, filters can have only one dialect set: {}; \
                 make each an entry of its own (entries are ANDed)",
                names.join(", ")
            ));
            return None;
        };
        match *dialect {
            "exact" => Some(Self::Exact(read_attributes(value))),
            "prefix" => Some(Self::Prefix(read_attributes(value))),
            "suffix" => Some(Self::Suffix(read_attributes(value))),
            "all" => Some(Self::All(read_list(value, depth))),
            "any" => Some(Self::Any(read_list(value, depth))),
            "not" => Self::read_at(value, depth + 1).map(|inner| Self::Not(Box::new(inner))),
            _ => {
                let text = value.string()?;
                if let Err(error) = crate::cesql::Expression::parse(&text) {
                    value.error(format!("invalid value: {text}; parse error: {error}"));
                }
                Some(Self::Cesql(text))
            }
        }
    }
}

fn read_list(node: &Cursor<'_>, depth: usize) -> Vec<FilterSpec> {
    node.items().iter().filter_map(|item| FilterSpec::read_at(item, depth + 1)).collect()
}

fn read_attributes(node: &Cursor<'_>) -> BTreeMap<String, String> {
    let attributes = node.string_map();
    for (name, value) in &attributes {
        let path = format!("{}[{name}]", node.path);
        if !is_attribute_name(name) {
            node.findings.error(
                path,
                format!(
                    "invalid key name \"{name}\": must start with a letter and have lower-case letters and digits only"
                ),
            );
        } else if value.is_empty() {
            node.findings.warning(path, "an empty value makes the whole entry pass every event");
        }
    }
    attributes
}
