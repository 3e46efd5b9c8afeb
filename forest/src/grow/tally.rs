//! Class counts of a set of rows.

use super::impurity::Impurity;

/// Class counts of a set of rows, with their sum and the sum of their squares.
#[derive(Debug, Clone, Default)]
pub(super) struct Tally {
    pub(super) counts: Vec<u64>,
    squares: u64,
    weight: u64,
}

impl Tally {
    pub(super) fn new(n_classes: usize) -> Self {
        Self { counts: vec![0; n_classes], squares: 0, weight: 0 }
    }

    pub(super) fn clear(&mut self) {
        self.counts.fill(0);
        (self.squares, self.weight) = (0, 0);
    }

    pub(super) fn copy_from(&mut self, other: &Self) {
        self.counts.copy_from_slice(&other.counts);
        (self.squares, self.weight) = (other.squares, other.weight);
    }

    pub(super) fn subtract(&mut self, other: &Self) {
        for (count, other) in self.counts.iter_mut().zip(&other.counts) {
            *count -= other;
        }
        self.weight -= other.weight;
        self.squares = self.counts.iter().map(|count| count * count).sum();
    }

    /// Told that the counts were set.
    pub(super) fn sum_up(&mut self) {
        self.weight = self.counts.iter().sum();
        self.squares = self.counts.iter().map(|count| count * count).sum();
    }

    pub(super) fn add(&mut self, load: Load) {
        let (count, weight) = (&mut self.counts[load.class()], load.weight());
        self.squares += weight * (2 * *count + weight);
        *count += weight;
        self.weight += weight;
    }

    pub(super) fn remove(&mut self, load: Load) {
        let (count, weight) = (&mut self.counts[load.class()], load.weight());
        self.squares -= weight * (2 * *count - weight);
        *count -= weight;
        self.weight -= weight;
    }

    /// Sets the counts of two classes.
    pub(super) fn set_pair(&mut self, first: u64, second: u64) {
        if let [one, other] = &mut self.counts[..] {
            (*one, *other) = (first, second);
        }
        self.squares = first * first + second * second;
        self.weight = first + second;
    }

    /// The sum of the counts.
    pub(super) fn total(&self) -> u64 {
        self.weight
    }

    #[expect(clippy::cast_precision_loss, reason = "exact: a count of rows")]
    pub(super) fn weight(&self) -> f64 {
        self.weight as f64
    }

    /// The sum of the squares of the counts.
    pub(super) fn squares(&self) -> u64 {
        self.squares
    }

    pub(super) fn impurity<I: Impurity>(&self) -> f64 {
        I::of(&self.counts, self.squares, self.weight())
    }

    /// Fraction of the first class, on which monotonic constraints act.
    #[expect(clippy::cast_precision_loss, reason = "exact: a count of rows")]
    pub(super) fn first(&self) -> f64 {
        self.counts[0] as f64 / self.weight()
    }

    /// Appends the class fractions.
    #[expect(clippy::cast_precision_loss, reason = "exact: a count of rows")]
    pub(super) fn push_fractions(&self, out: &mut Vec<f64>) {
        let weight = self.weight();
        out.extend(self.counts.iter().map(|count| *count as f64 / weight));
    }
}

/// What a cut is worth: scikit-learn's proxy of the improvement, rounded as there.
pub(super) fn score<I: Impurity>(left: &Tally, right: &Tally) -> f64 {
    -right.weight() * right.impurity::<I>() - left.weight() * left.impurity::<I>()
}

/// The score of a cut of two classes by their weights on both sides.
pub(super) fn pair_score<I: Impurity>(left: (u64, u64), right: (u64, u64)) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "exact: a count of rows")]
    let weighed = |(first, second): (u64, u64)| {
        let weight = (first + second) as f64;
        weight * I::of(&[first, second], first * first + second * second, weight)
    };
    -weighed(right) - weighed(left)
}

/// Half way between the sides' fractions of the first class.
#[expect(clippy::cast_precision_loss, reason = "exact: a count of rows")]
pub(super) fn middle(left: &Tally, right: &Tally) -> f64 {
    left.counts[0] as f64 / (2.0 * left.weight()) + right.counts[0] as f64 / (2.0 * right.weight())
}

/// What a row brings to a tally: class in the upper half, weight in the lower.
#[derive(Debug, Clone, Copy)]
pub(super) struct Load(u32);

impl Load {
    pub(super) const BITS: u32 = 16;

    /// Class and weight must be below 2^16.
    pub(super) fn new(class: u32, weight: u32) -> Self {
        Self(class << Self::BITS | weight)
    }

    /// The load as the lower half of a sortable key.
    pub(super) fn bits(self) -> u32 {
        self.0
    }

    pub(super) fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    pub(super) fn class(self) -> usize {
        (self.0 >> Self::BITS) as usize
    }

    pub(super) fn weight(self) -> u64 {
        u64::from(self.weight32())
    }

    pub(super) fn weight32(self) -> u32 {
        self.0 & 0xFFFF
    }

    /// All bits set in the second of two classes.
    pub(super) fn second_mask(self) -> u32 {
        (self.0 >> Self::BITS).wrapping_neg()
    }
}
