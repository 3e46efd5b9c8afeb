//! A model's columns: found by name, in the model's order.

use std::collections::BTreeMap;

use regrove_forest::Categories;

use crate::refusal::Fault;

/// Names of columns that a message lists.
const NAMES_SHOWN: usize = 8;

/// The columns that a model expects.
#[derive(Debug)]
pub struct Signature {
    names: Vec<String>,
    by_name: BTreeMap<String, usize>,
    /// Per column its texts, if it holds codes; empty if no column does.
    codes: Vec<Option<Codes>>,
}

/// The texts of a column that the model knows by their codes: the k-th text stands for k.
#[derive(Debug)]
pub(crate) struct Codes {
    texts: Vec<String>,
    by_text: BTreeMap<String, f32>,
}

impl Codes {
    fn new(texts: &[String]) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "a frame has fewer codes than float32 has whole numbers")]
        let by_text = texts.iter().enumerate().map(|(code, text)| (text.clone(), code as f32)).collect();
        Self { texts: texts.to_vec(), by_text }
    }

    /// The code of a text.
    pub(crate) fn of(&self, text: &str) -> Option<f32> {
        self.by_text.get(text).copied()
    }

    /// Whether a number is the code of a text.
    pub(crate) fn has(&self, code: f32) -> bool {
        #[expect(clippy::cast_precision_loss, reason = "as above")]
        let end = self.texts.len() as f32;
        code >= 0.0 && code < end && code.fract() == 0.0
    }

    /// The texts for people: the first few, and how many more.
    pub(crate) fn shown(&self) -> String {
        shortened(&self.texts)
    }
}

impl Signature {
    /// The columns of these names.
    pub fn new(names: &[String]) -> Self {
        let by_name = names.iter().enumerate().map(|(at, name)| (name.clone(), at)).collect();
        Self { names: names.to_vec(), by_name, codes: Vec::new() }
    }

    /// The same, where some of the columns hold codes of texts.
    #[must_use]
    pub fn with_categories(mut self, categories: &Categories) -> Self {
        if !categories.is_empty() {
            self.codes = self.names.iter().map(|name| categories.get(name).map(|texts| Codes::new(texts))).collect();
        }
        self
    }

    /// What the column at a position of the model knows texts by; none for numbers.
    pub(crate) fn codes(&self, position: usize) -> Option<&Codes> {
        self.codes.get(position)?.as_ref()
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
        let among =
            if given.is_empty() { ": none are named".to_owned() } else { format!(" among {}", shortened(given)) };
        Err(wrong(format!("the model's columns {} are missing{among}", shortened(&missing))))
    }
}

/// Names for people: the first few, and how many more.
pub(crate) fn shortened(names: &[String]) -> String {
    let shown: Vec<String> = names.iter().take(NAMES_SHOWN).map(|name| format!("`{name}`")).collect();
    let more = names.len().saturating_sub(NAMES_SHOWN);
    if more == 0 { shown.join(", ") } else { format!("{} and {more} more", shown.join(", ")) }
}
