//! Which features a node looks at: a partial Fisher-Yates shuffle from the back that keeps known constants in front.
//!
//! ```text
//! features:  | drawn, known constant | known constant | found constant | not drawn | drawn, not constant |
//!            0                drawn_constants      known           known + found   open                  n
//! ```

use crate::random::Xorshift;

/// The order of features, kept from node to node through a whole tree.
pub(super) struct FeatureDraw {
    features: Vec<usize>,
    /// Constants found on the way from the root to the current node, in the order in which they were found.
    constants: Vec<usize>,
    max_features: usize,
    /// What a preview exchanged.
    swaps: Vec<(usize, usize)>,
}

/// A drawn feature and its place.
#[derive(Debug, Clone, Copy)]
pub(super) struct Drawn {
    pub(super) feature: usize,
    place: usize,
}

impl FeatureDraw {
    pub(super) fn new(n_features: usize, max_features: usize) -> Self {
        Self { features: (0..n_features).collect(), constants: vec![0; n_features], max_features, swaps: Vec::new() }
    }

    /// The features that a node of which `known` features are known to be constant will draw from a stream in this state,
    /// if it finds no more constants. Nothing is changed.
    pub(super) fn preview(&mut self, known: usize, mut stream: Xorshift, out: &mut Vec<usize>) {
        out.clear();
        self.swaps.clear();
        let (mut open, mut visited, mut drawn_constants) = (self.features.len(), 0, 0);
        while open > known && (visited < self.max_features || visited <= drawn_constants) {
            visited += 1;
            let place = stream.between(drawn_constants, open);
            if place < known {
                self.swaps.push((drawn_constants, place));
                self.features.swap(drawn_constants, place);
                drawn_constants += 1;
            } else {
                out.push(self.features[place]);
                open -= 1;
                self.swaps.push((open, place));
                self.features.swap(open, place);
            }
        }
        while let Some((one, other)) = self.swaps.pop() {
            self.features.swap(one, other);
        }
    }

    /// Begins the draws of a node of which `known` features are known to be constant.
    pub(super) fn begin(&mut self, known: usize) -> Draws<'_> {
        let open = self.features.len();
        Draws { of: self, open, known, visited: 0, found: 0, drawn_constants: 0 }
    }
}

/// The draws of one node.
pub(super) struct Draws<'a> {
    of: &'a mut FeatureDraw,
    open: usize,
    known: usize,
    visited: usize,
    found: usize,
    drawn_constants: usize,
}

impl Draws<'_> {
    /// The next feature to look at, or `None` when `max_features` were visited and one of them was not constant.
    pub(super) fn next(&mut self, stream: &mut Xorshift) -> Option<Drawn> {
        while self.open > self.known + self.found
            && (self.visited < self.of.max_features || self.visited <= self.found + self.drawn_constants)
        {
            self.visited += 1;
            let place = stream.between(self.drawn_constants, self.open - self.found);
            if place < self.known {
                self.of.features.swap(self.drawn_constants, place);
                self.drawn_constants += 1;
            } else {
                let place = place + self.found;
                return Some(Drawn { feature: self.of.features[place], place });
            }
        }
        None
    }

    /// Puts a feature to where it belongs, now that it was looked at.
    pub(super) fn seen(&mut self, drawn: Drawn, varied: bool) {
        if varied {
            self.open -= 1;
            self.of.features.swap(self.open, drawn.place);
        } else {
            self.of.features.swap(drawn.place, self.known + self.found);
            self.found += 1;
        }
    }

    /// Restores the order of the known constants, which siblings rely on, and returns how many are known now.
    pub(super) fn finish(self) -> usize {
        let (known, total) = (self.known, self.known + self.found);
        let FeatureDraw { features, constants, .. } = self.of;
        features[..known].copy_from_slice(&constants[..known]);
        constants[known..total].copy_from_slice(&features[known..total]);
        total
    }
}

#[cfg(test)]
mod tests {
    use super::FeatureDraw;
    use crate::random::Xorshift;

    #[test]
    fn a_preview_tells_the_draws_and_changes_nothing() {
        let mut draw = FeatureDraw::new(9, 3);
        let mut stream = Xorshift::new(5);
        let mut likely = Vec::new();
        let mut known = 0;
        for node in 0..40 {
            draw.preview(known, stream.clone(), &mut likely);
            let before = draw.features.clone();
            draw.preview(known, stream.clone(), &mut likely);
            assert_eq!(draw.features, before);
            let mut draws = draw.begin(known);
            let mut seen = Vec::new();
            while let Some(next) = draws.next(&mut stream) {
                seen.push(next.feature);
                // Only the first feature of every eighth node turns out to be constant.
                draws.seen(next, node % 8 != 7 || seen.len() > 1);
            }
            known = draws.finish();
            if node % 8 == 7 {
                assert_eq!(seen.first(), likely.first());
            } else {
                assert_eq!(seen, likely);
            }
        }
        assert!(known > 2);
    }
}
