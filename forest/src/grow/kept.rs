//! Columns that stay sorted from a node to its leaves, where sums depend on the order of rows.
//!
//! The order of different values in a node is the same in the nodes below. So it is kept, and divided as the node is: only
//! the order of equal values has to be found anew in each node, where it depends on what was sorted before.
//! Presorting with stable division goes back to SPRINT (Shafer, Agrawal and Mehta 1996).

use std::ops::Range;

use super::introsort::row;

/// The most rows of a node whose columns are kept. Larger ones are few levels of a tree, and the pairs of all their columns would be
/// twice the data.
pub(super) const ROWS_MAX: usize = 1 << 17;
/// The most pairs that a tree keeps.
pub(super) const PAIRS_MAX: usize = 1 << 23;
/// Features of a word of the set.
const WORD: usize = u64::BITS as usize;

/// Sorted columns of a section: a node of few enough rows whose parent has more, or the root, and all below it.
#[derive(Debug)]
pub(super) struct Kept {
    n_features: usize,
    rows_max: usize,
    /// Positions of the section.
    section: Range<usize>,
    /// A value's order, above, and its row, column-major `(n_features, section.len())`; a node is the same range of every
    /// column.
    pairs: Vec<u64>,
    /// By position in the section: the features that are sorted in the node which begins there, a bit for each.
    sorted: Vec<u64>,
    /// By row of the frame: whether it goes left, of the rows of the node that is divided.
    goes_left: Vec<bool>,
    spare: Vec<u64>,
}

impl Kept {
    /// For a tree of features `n_features` on rows below `n_samples`; nodes of at most `rows_max` rows have their columns kept,
    /// with 0 none.
    pub(super) fn new(n_features: usize, n_samples: usize, rows_max: usize) -> Self {
        let goes_left = if rows_max > 0 { vec![false; n_samples] } else { Vec::new() };
        Self {
            n_features,
            rows_max,
            section: 0..0,
            pairs: Vec::new(),
            sorted: Vec::new(),
            goes_left,
            spare: Vec::new(),
        }
    }

    fn n_words(&self) -> usize {
        self.n_features.div_ceil(WORD)
    }

    /// Told the node in work.
    pub(super) fn enter(&mut self, node: &Range<usize>) {
        let inside = self.section.start <= node.start && node.end <= self.section.end;
        if inside || node.len() > self.rows_max {
            return;
        }
        self.section = node.clone();
        self.pairs.resize((self.n_features * node.len()).max(self.pairs.len()), 0);
        self.sorted.clear();
        self.sorted.resize(self.n_words() * node.len(), 0);
        self.spare.resize(node.len().max(self.spare.len()), 0);
    }

    /// Where the pairs of a feature in a node are.
    fn place(&self, feature: usize, node: &Range<usize>) -> Range<usize> {
        let column = feature * self.section.len();
        column + node.start - self.section.start..column + node.end - self.section.start
    }

    /// Where in the set the features of the node that begins at a position are.
    fn words(&self, start: usize) -> Range<usize> {
        let first = (start - self.section.start) * self.n_words();
        first..first + self.n_words()
    }

    fn holds(&self, node: &Range<usize>) -> bool {
        node.len() <= self.rows_max
    }

    /// The pairs of a feature in the node in work, ascending by value, if they are kept.
    pub(super) fn pairs(&self, feature: usize, node: &Range<usize>) -> Option<&[u64]> {
        if !self.holds(node) || self.sorted[self.words(node.start)][feature / WORD] & 1 << (feature % WORD) == 0 {
            return None;
        }
        Some(&self.pairs[self.place(feature, node)])
    }

    /// Keeps the pairs of a feature in the node in work, which ascend by value.
    pub(super) fn keep(&mut self, feature: usize, node: &Range<usize>, pairs: &[u64]) {
        if !self.holds(node) {
            return;
        }
        let (place, words) = (self.place(feature, node), self.words(node.start));
        self.pairs[place].copy_from_slice(pairs);
        self.sorted[words][feature / WORD] |= 1 << (feature % WORD);
    }

    /// Keeps the pairs of a feature in the node in work no longer.
    pub(super) fn forget(&mut self, feature: usize, node: &Range<usize>) {
        let words = self.words(node.start);
        self.sorted[words][feature / WORD] &= !(1 << (feature % WORD));
    }

    /// Divides what is kept of the node in work for the sides that will be looked at: `left` are its first rows, the others
    /// are those of the right side.
    pub(super) fn divide(&mut self, node: &Range<usize>, left: &[u32], right: &[u32], wanted: (bool, bool)) {
        if !self.holds(node) {
            return;
        }
        let middle = node.start + left.len();
        let words: Vec<u64> = self.sorted[self.words(node.start)].to_vec();
        for (start, wanted) in [(node.start, wanted.0), (middle, wanted.1)] {
            let place = self.words(start);
            for (own, word) in self.sorted[place].iter_mut().zip(&words) {
                *own = if wanted { *word } else { 0 };
            }
        }
        if words.iter().all(|word| *word == 0) {
            return;
        }
        for row in left {
            self.goes_left[*row as usize] = true;
        }
        for row in right {
            self.goes_left[*row as usize] = false;
        }
        for (at, word) in words.iter().enumerate() {
            let mut word = *word;
            while word != 0 {
                let feature = at * WORD + word.trailing_zeros() as usize;
                word &= word - 1;
                let place = self.place(feature, node);
                divide(&mut self.pairs[place], &mut self.spare, &self.goes_left);
            }
        }
    }
}

/// Moves the pairs whose rows go left to the front, each side in its order.
fn divide(pairs: &mut [u64], spare: &mut [u64], goes_left: &[bool]) {
    let (mut n_left, mut n_right) = (0, 0);
    for at in 0..pairs.len() {
        let pair = pairs[at];
        let is_left = goes_left[row(pair) as usize];
        // Both are written, and only one is kept: nothing to be guessed.
        pairs[n_left] = pair;
        spare[n_right] = pair;
        n_left += usize::from(is_left);
        n_right += usize::from(!is_left);
    }
    pairs[n_left..].copy_from_slice(&spare[..n_right]);
}
