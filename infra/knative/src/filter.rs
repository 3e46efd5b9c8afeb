//! Deciding whether a trigger wants an event.
//!
//! Results follow knative/eventing as recorded in `testdata/eventing/filters.json`. Where its code would panic (an
//! expression whose value is no boolean) the event does not pass, as the API says.

use std::collections::BTreeMap;

use regrove_events::CloudEvent;
use thiserror::Error;

use crate::attribute::Attribute;
use crate::cesql::{Expression, ParseError};
use crate::manifest::{FilterSpec, TriggerFilter};

/// Why a filter cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum FilterError {
    /// A `CloudEvents` SQL expression does not parse.
    #[error("cesql expression `{expression}`: {error}")]
    Cesql {
        /// The expression.
        expression: String,
        /// What is wrong with it.
        #[source]
        error: ParseError,
    },
}

/// A trigger's filter, ready to be asked.
#[derive(Debug, Clone, PartialEq)]
pub struct Filter {
    root: Node,
}

/// What an entry says of an event. Entries that filter nothing are left out of lists and negation alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    NoFilter,
    Pass,
    Fail,
}

#[derive(Debug, Clone, PartialEq)]
enum Node {
    NoFilter,
    /// `spec.filter.attributes`.
    Attributes(BTreeMap<String, String>),
    Text(Comparison, BTreeMap<String, String>),
    All(Vec<Node>),
    Any(Vec<Node>),
    Not(Box<Node>),
    Cesql(Expression),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Exact,
    Prefix,
    Suffix,
}

impl Filter {
    /// Prepares a trigger's filter; parse errors of expressions show here.
    ///
    /// # Errors
    ///
    /// [`FilterError`] for the first expression that does not parse.
    pub fn compile(spec: &TriggerFilter) -> Result<Self, FilterError> {
        let root = if spec.filters.is_empty() {
            spec.attributes.clone().map_or(Node::NoFilter, Node::Attributes)
        } else {
            Node::All(compile_list(&spec.filters)?)
        };
        Ok(Self { root })
    }

    /// Whether the event passes.
    pub fn matches(&self, event: &CloudEvent) -> bool {
        self.root.verdict(event) != Verdict::Fail
    }
}

fn compile_list(list: &[FilterSpec]) -> Result<Vec<Node>, FilterError> {
    list.iter().map(compile).collect()
}

fn compile(spec: &FilterSpec) -> Result<Node, FilterError> {
    let text = |comparison, attributes: &BTreeMap<String, String>| {
        // Upstream drops an entry with an empty name or value altogether.
        let usable = attributes.iter().all(|(name, value)| !name.is_empty() && !value.is_empty());
        if usable && !attributes.is_empty() { Node::Text(comparison, attributes.clone()) } else { Node::NoFilter }
    };
    Ok(match spec {
        FilterSpec::Everything => Node::NoFilter,
        FilterSpec::Exact(attributes) => text(Comparison::Exact, attributes),
        FilterSpec::Prefix(attributes) => text(Comparison::Prefix, attributes),
        FilterSpec::Suffix(attributes) => text(Comparison::Suffix, attributes),
        FilterSpec::All(list) => Node::All(compile_list(list)?),
        FilterSpec::Any(list) => Node::Any(compile_list(list)?),
        FilterSpec::Not(inner) => Node::Not(Box::new(compile(inner)?)),
        FilterSpec::Cesql(expression) => Node::Cesql(
            Expression::parse(expression)
                .map_err(|error| FilterError::Cesql { expression: expression.clone(), error })?,
        ),
    })
}

impl Verdict {
    fn of(pass: bool) -> Self {
        if pass { Self::Pass } else { Self::Fail }
    }
}

impl Node {
    fn verdict(&self, event: &CloudEvent) -> Verdict {
        match self {
            Self::NoFilter => Verdict::NoFilter,
            Self::Attributes(attributes) => Verdict::of(
                attributes.iter().all(|(name, wanted)| matches_legacy(Attribute::of_alias(event, name), wanted)),
            ),
            Self::Text(comparison, attributes) => {
                Verdict::of(attributes.iter().all(|(name, wanted)| comparison.holds(event, name, wanted)))
            }
            Self::All(list) => decide(list, event, Verdict::Fail),
            Self::Any(list) => decide(list, event, Verdict::Pass),
            Self::Not(inner) => match inner.verdict(event) {
                Verdict::NoFilter => Verdict::NoFilter,
                Verdict::Pass => Verdict::Fail,
                Verdict::Fail => Verdict::Pass,
            },
            Self::Cesql(expression) => Verdict::of(expression.holds(event)),
        }
    }
}

/// The first member with the `decisive` verdict decides; else the others' verdict, or none if no member filters.
fn decide(list: &[Node], event: &CloudEvent, decisive: Verdict) -> Verdict {
    let mut result = Verdict::NoFilter;
    for node in list {
        match node.verdict(event) {
            Verdict::NoFilter => {}
            verdict if verdict == decisive => return verdict,
            verdict => result = verdict,
        }
    }
    result
}

impl Comparison {
    fn holds(self, event: &CloudEvent, name: &str, wanted: &str) -> bool {
        let Some(value) = Attribute::of_alias(event, name) else {
            return false;
        };
        let text = value.into_text();
        match self {
            Self::Exact => *text == *wanted,
            Self::Prefix => text.starts_with(wanted),
            Self::Suffix => text.ends_with(wanted),
        }
    }
}

/// The attributes filter compares values, not their string forms: an integer equals no text.
fn matches_legacy(value: Option<Attribute<'_>>, wanted: &str) -> bool {
    match value {
        None => false,
        Some(Attribute::Text(text)) if wanted.is_empty() => !text.is_empty(),
        Some(Attribute::Text(text)) => *text == *wanted,
        Some(Attribute::Integer(_) | Attribute::Boolean(_)) => wanted.is_empty(),
    }
}
