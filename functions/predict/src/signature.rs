//! A model's columns: found by name, in the model's order.

use std::collections::BTreeMap;

use crate::refusal::Fault;

/// Names of columns that a message lists.
const NAMES_SHOWN: usize = 8;

/// The columns that a model expects.
#[derive(Debug)]
pub struct Signature {
    names: Vec<String>,
    by_name: BTreeMap<String, usize>,
}

impl Signature {
    /// The columns of these names.
    pub fn new(names: &[String]) -> Self {
        let by_name = names.iter().enumerate().map(|(at, name)| (name.clone(), at)).collect();
        Self { names: names.to_vec(), by_name }
    }

    /// Number of columns.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Names in the model's order.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Where a column stands, looking first where it should be.
    pub(crate) fn position(&self, name: &str, guess: usize) -> Option<usize> {
        if self.names.get(guess).is_some_and(|here| here == name) {
            return Some(guess);
        }
        self.by_name.get(name).copied()
    }

    /// For each given column where it goes in the model's order; `None` for one that the model does not have.
    ///
    /// # Errors
    /// A column that comes twice, or one of the model's that is missing.
    pub(crate) fn map(&self, given: &[String], pointer: &str) -> Result<Vec<Option<usize>>, Fault> {
        let wrong = |detail: String| {
            Fault::value("wrong-columns", pointer.to_owned(), detail, format!("the columns {}", shortened(&self.names)))
        };
        let mut seen = vec![false; self.len()];
        let mut map = Vec::with_capacity(given.len());
        for (at, name) in given.iter().enumerate() {
            let position = self.position(name, at);
            if let Some(position) = position
                && std::mem::replace(&mut seen[position], true)
            {
                return Err(wrong(format!("the column `{name}` comes twice")));
            }
            map.push(position);
        }
        let missing: Vec<String> =
            self.names.iter().zip(&seen).filter(|(_, seen)| !**seen).map(|(name, _)| name.clone()).collect();
        if missing.is_empty() {
            return Ok(map);
        }
        Err(wrong(format!("the model's columns {} are missing among {}", shortened(&missing), shortened(given))))
    }
}

/// Names for people: the first few, and how many more.
pub(crate) fn shortened(names: &[String]) -> String {
    let shown: Vec<String> = names.iter().take(NAMES_SHOWN).map(|name| format!("`{name}`")).collect();
    let more = names.len().saturating_sub(NAMES_SHOWN);
    if more == 0 { shown.join(", ") } else { format!("{} and {more} more", shown.join(", ")) }
}
