//! Reading typed values out of a document while collecting every fault on the way.
//!
//! A derived `Deserialize` stops at the first fault. A user who mends manifests wants all of them, each with its path,
//! so the readers here note a fault, put a harmless value in its place, and go on.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

/// A fault or a doubt at a path inside one document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) path: String,
    pub(crate) reason: String,
}

/// Collects what the readers find; shared by all readers of one document.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    errors: RefCell<Vec<Finding>>,
    warnings: RefCell<Vec<Finding>>,
}

impl Findings {
    pub(crate) fn error(&self, path: impl Into<String>, reason: impl Into<String>) {
        self.errors.borrow_mut().push(Finding { path: path.into(), reason: reason.into() });
    }

    pub(crate) fn warning(&self, path: impl Into<String>, reason: impl Into<String>) {
        self.warnings.borrow_mut().push(Finding { path: path.into(), reason: reason.into() });
    }

    /// Takes (errors, warnings) out, in the order in which they were found.
    pub(crate) fn into_parts(self) -> (Vec<Finding>, Vec<Finding>) {
        (self.errors.into_inner(), self.warnings.into_inner())
    }
}

/// `parent.child`, or `child` at the root.
pub(crate) fn join(parent: &str, child: &str) -> String {
    if parent.is_empty() { child.to_owned() } else { format!("{parent}.{child}") }
}

/// A value together with the path at which it stands.
#[derive(Debug, Clone)]
pub(crate) struct Cursor<'a> {
    pub(crate) value: &'a Value,
    pub(crate) path: String,
    pub(crate) findings: &'a Findings,
}

/// The JSON name of a value's type, for messages.
fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

impl<'a> Cursor<'a> {
    pub(crate) fn root(value: &'a Value, findings: &'a Findings) -> Self {
        Self { value, path: String::new(), findings }
    }

    pub(crate) fn error(&self, reason: impl Into<String>) {
        self.findings.error(self.path.clone(), reason);
    }

    pub(crate) fn warning(&self, reason: impl Into<String>) {
        self.findings.warning(self.path.clone(), reason);
    }

    fn mismatch(&self, wanted: &str) {
        let hint = match (wanted, self.value) {
            ("a string", Value::Number(number)) => format!("; quote it: \"{number}\""),
            ("a string", Value::Bool(_)) => {
                "; quote it: without quotes, true, yes, on, y and their opposites are booleans".to_owned()
            }
            _ => String::new(),
        };
        self.error(format!("must be {wanted}, got {}{hint}", type_name(self.value)));
    }

    pub(crate) fn fields(&self) -> Option<Fields<'a>> {
        if let Value::Object(map) = self.value {
            return Some(Fields { map, path: self.path.clone(), findings: self.findings, known: BTreeSet::new() });
        }
        self.mismatch("an object");
        None
    }

    pub(crate) fn items(&self) -> Vec<Cursor<'a>> {
        let Value::Array(items) = self.value else {
            self.mismatch("a list");
            return Vec::new();
        };
        items
            .iter()
            .enumerate()
            .map(|(index, value)| Cursor { value, path: format!("{}[{index}]", self.path), findings: self.findings })
            .collect()
    }

    pub(crate) fn string(&self) -> Option<String> {
        if let Value::String(text) = self.value {
            return Some(text.clone());
        }
        self.mismatch("a string");
        None
    }

    pub(crate) fn boolean(&self) -> Option<bool> {
        if let Value::Bool(value) = self.value {
            return Some(*value);
        }
        self.mismatch("a boolean");
        None
    }

    /// A whole number; a float without a fraction is taken as one, as Kubernetes does.
    pub(crate) fn integer(&self) -> Option<i64> {
        let whole = self.value.as_i64();
        if whole.is_none() {
            self.mismatch("a whole number");
        }
        whole
    }

    /// A whole number inside `bounds`; outside them the fault is noted and `None` returned.
    pub(crate) fn bounded(&self, bounds: std::ops::RangeInclusive<i64>) -> Option<i64> {
        let value = self.integer()?;
        if bounds.contains(&value) {
            return Some(value);
        }
        self.error(format!("expected {} <= {value} <= {}", bounds.start(), bounds.end()));
        None
    }

    pub(crate) fn string_map(&self) -> BTreeMap<String, String> {
        let Value::Object(map) = self.value else {
            self.mismatch("an object");
            return BTreeMap::new();
        };
        let mut strings = BTreeMap::new();
        for (key, value) in map {
            let entry = Cursor { value, path: format!("{}[{key}]", self.path), findings: self.findings };
            if let Some(text) = entry.string() {
                strings.insert(key.clone(), text);
            }
        }
        strings
    }
}

/// The members of one object. Those never asked for are unknown fields: [`Fields::finish`] reports them.
#[derive(Debug)]
pub(crate) struct Fields<'a> {
    map: &'a Map<String, Value>,
    pub(crate) path: String,
    pub(crate) findings: &'a Findings,
    known: BTreeSet<&'static str>,
}

impl<'a> Fields<'a> {
    /// The member `name`; an absent member and an explicit `null` are the same.
    pub(crate) fn get(&mut self, name: &'static str) -> Option<Cursor<'a>> {
        self.known.insert(name);
        match self.map.get(name) {
            None | Some(Value::Null) => None,
            Some(value) => Some(Cursor { value, path: join(&self.path, name), findings: self.findings }),
        }
    }

    /// Whether there is a member `name`, be it `null`.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.map.contains_key(name)
    }

    /// The member `name`, whose absence is a fault.
    pub(crate) fn required(&mut self, name: &'static str) -> Option<Cursor<'a>> {
        let found = self.get(name);
        if found.is_none() {
            self.error(name, "missing field");
        }
        found
    }

    pub(crate) fn string(&mut self, name: &'static str) -> Option<String> {
        self.get(name)?.string()
    }

    /// A string that must be there and not be empty.
    pub(crate) fn required_string(&mut self, name: &'static str) -> Option<String> {
        let text = self.required(name)?.string()?;
        if text.is_empty() {
            self.error(name, "missing field: must not be empty");
            return None;
        }
        Some(text)
    }

    pub(crate) fn strings(&mut self, name: &'static str) -> Vec<String> {
        self.items(name).iter().filter_map(Cursor::string).collect()
    }

    pub(crate) fn items(&mut self, name: &'static str) -> Vec<Cursor<'a>> {
        self.get(name).map(|list| list.items()).unwrap_or_default()
    }

    pub(crate) fn string_map(&mut self, name: &'static str) -> BTreeMap<String, String> {
        self.get(name).map(|map| map.string_map()).unwrap_or_default()
    }

    /// Notes names as known although nothing here reads them.
    pub(crate) fn accept(&mut self, names: &[&'static str]) {
        self.known.extend(names);
    }

    /// Notes names as known and their presence as a fault.
    pub(crate) fn refuse(&mut self, names: &[&'static str], reason: &str) {
        for name in names {
            if let Some(found) = self.get(name) {
                found.error(format!("must not set the field: {reason}"));
            }
        }
    }

    pub(crate) fn error(&self, name: &str, reason: impl Into<String>) {
        self.findings.error(join(&self.path, name), reason);
    }

    pub(crate) fn warning(&self, name: &str, reason: impl Into<String>) {
        self.findings.warning(join(&self.path, name), reason);
    }

    /// Reports every member that no reader asked for.
    pub(crate) fn finish(self) {
        for name in self.map.keys() {
            if self.known.contains(name.as_str()) {
                continue;
            }
            let near = self.known.iter().find(|known| is_near(known, name));
            let hint = near.map(|known| format!("; did you mean `{known}`?")).unwrap_or_default();
            self.findings.error(join(&self.path, name), format!("unknown field{hint}"));
        }
    }
}

/// Whether two names differ in case only, or by one inserted, deleted or replaced character.
fn is_near(known: &str, given: &str) -> bool {
    let known: Vec<char> = known.to_lowercase().chars().collect();
    let given: Vec<char> = given.to_lowercase().chars().collect();
    let prefix = known.iter().zip(&given).take_while(|(a, b)| a == b).count();
    let suffix =
        known.iter().skip(prefix).rev().zip(given.iter().skip(prefix).rev()).take_while(|(a, b)| a == b).count();
    known.len().max(given.len()) - prefix - suffix <= 1
}
