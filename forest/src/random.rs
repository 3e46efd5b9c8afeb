//! Random streams, equal to NumPy's legacy `RandomState` and to scikit-learn's tree generator.
//!
//! Sources: Matsumoto and Nishimura 1998 (MT19937); Marsaglia's polar method (1964); Marsaglia 2003 (xorshift); the order of
//! draws is that of `numpy.random.RandomState`.

mod mersenne;

use std::collections::BTreeSet;

use mersenne::{Mersenne, N_WORDS};

/// The exclusive bound of the seeds that a forest draws for its trees.
pub const TREE_SEED_BOUND: u32 = 0x7FFF_FFFF;

/// NumPy's legacy generator: a given seed gives the same numbers for ever.
#[derive(Debug, Clone)]
pub struct RandomState {
    words: Mersenne,
    spare_normal: Option<f64>,
}

impl RandomState {
    /// The stream of `numpy.random.RandomState(seed)`.
    pub fn new(seed: u32) -> Self {
        Self { words: Mersenne::new(seed), spare_normal: None }
    }

    /// A uniform whole number in `[0, bound)`: `randint(bound)`. A bound of 0 or 1 gives 0 and draws nothing.
    pub fn randint(&mut self, bound: u32) -> u32 {
        self.interval(bound.saturating_sub(1))
    }

    /// Hands out so many numbers of [`RandomState::randint`] and ends the stream: words are drawn ahead, so that the processor
    /// need not guess which of them fit.
    pub fn randints(mut self, bound: u32, n: u32, mut take: impl FnMut(u32)) {
        let max = bound.saturating_sub(1);
        if max == 0 {
            (0..n).for_each(|_| take(0));
            return;
        }
        let mask = u32::MAX >> max.leading_zeros();
        let mut left = n as usize;
        let (mut words, mut fitting) = ([0; N_WORDS], [0; N_WORDS]);
        while left > 0 {
            let n_words = self.words.next_words(&mut words);
            let mut n_fitting = 0;
            for word in &words[..n_words] {
                let word = word & mask;
                fitting[n_fitting] = word;
                n_fitting += usize::from(word <= max);
            }
            let n_taken = n_fitting.min(left);
            fitting[..n_taken].iter().for_each(|number| take(*number));
            left -= n_taken;
        }
    }

    /// A uniform whole number in `[0, max]`: draws under the smallest covering bit mask until one fits.
    fn interval(&mut self, max: u32) -> u32 {
        if max == 0 {
            return 0;
        }
        let mask = u32::MAX >> max.leading_zeros();
        loop {
            let word = self.words.next_word() & mask;
            if word <= max {
                return word;
            }
        }
    }

    /// A uniform number in `[0, 1)` with 53 random bits: `random_sample()`.
    pub fn random_sample(&mut self) -> f64 {
        const HIGH_SCALE: f64 = 67_108_864.0; // 2^26
        const UNIT: f64 = 9_007_199_254_740_992.0; // 2^53
        let high = self.words.next_word() >> 5;
        let low = self.words.next_word() >> 6;
        (f64::from(high) * HIGH_SCALE + f64::from(low)) / UNIT
    }

    /// A uniform number in `[low, high)`: `uniform(low, high)`.
    pub fn uniform(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.random_sample()
    }

    /// A standard normal number: `standard_normal()`, the polar method with its spare.
    pub fn standard_normal(&mut self) -> f64 {
        if let Some(spare) = self.spare_normal.take() {
            return spare;
        }
        loop {
            let x = 2.0 * self.random_sample() - 1.0;
            let y = 2.0 * self.random_sample() - 1.0;
            let square = x * x + y * y;
            if square < 1.0 && square > 0.0 {
                let scale = (-2.0 * square.ln() / square).sqrt();
                self.spare_normal = Some(scale * x);
                return scale * y;
            }
        }
    }

    /// Shuffles in place: `shuffle(items)`. More than 2³² items are not supported and stay in place beyond that.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            let Ok(max) = u32::try_from(last) else { continue };
            items.swap(last, self.interval(max) as usize);
        }
    }

    /// A random order of `0..n`: `permutation(n)`.
    pub fn permutation(&mut self, n: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..n).collect();
        self.shuffle(&mut order);
        order
    }

    /// Distinct whole numbers in `[0, population)`: scikit-learn's `sample_without_replacement`, whose method
    /// depends on the ratio of the two sizes.
    pub fn sample_without_replacement(&mut self, population: u32, n_samples: u32) -> Vec<u32> {
        let ratio = if population == 0 { 1.0 } else { f64::from(n_samples) / f64::from(population) };
        if ratio > 0.01 && ratio < 0.99 {
            let mut order: Vec<u32> = (0..population).collect();
            self.shuffle(&mut order);
            order.truncate(n_samples as usize);
            order
        } else if ratio < 0.2 {
            self.sample_by_tracking(population, n_samples)
        } else {
            self.sample_by_reservoir(population, n_samples)
        }
    }

    fn sample_by_tracking(&mut self, population: u32, n_samples: u32) -> Vec<u32> {
        let mut selected = BTreeSet::new();
        let draw = |_| loop {
            let number = self.randint(population);
            if selected.insert(number) {
                return number;
            }
        };
        (0..n_samples).map(draw).collect()
    }

    fn sample_by_reservoir(&mut self, population: u32, n_samples: u32) -> Vec<u32> {
        let mut reservoir: Vec<u32> = (0..n_samples).collect();
        for number in n_samples..population {
            let slot = self.interval(number);
            if slot < n_samples {
                reservoir[slot as usize] = number;
            }
        }
        reservoir
    }
}

/// Seeds of the trees `0..`, in order: what a forest of seed `random_state` gives its trees.
pub fn tree_seeds(random_state: u32) -> impl Iterator<Item = u32> {
    let mut stream = RandomState::new(random_state);
    std::iter::repeat_with(move || stream.randint(TREE_SEED_BOUND))
}

/// The 32-bit xorshift that draws features and random thresholds inside a tree.
#[derive(Debug, Clone)]
pub struct Xorshift {
    state: u32,
}

impl Xorshift {
    /// The stream of a state; zero counts as one.
    pub fn new(state: u32) -> Self {
        Self { state: if state == 0 { 1 } else { state } }
    }

    /// The generator of the tree with this seed.
    pub fn of_tree(tree_seed: u32) -> Self {
        Self::new(RandomState::new(tree_seed).randint(TREE_SEED_BOUND))
    }

    fn next(&mut self) -> u32 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 17;
        self.state ^= self.state << 5;
        self.state & TREE_SEED_BOUND
    }

    /// A whole number in `[low, high)`; `low` must be below `high`.
    pub fn between(&mut self, low: usize, high: usize) -> usize {
        low + self.next() as usize % (high - low)
    }

    /// A number in `[low, high]`.
    pub fn uniform(&mut self, low: f64, high: f64) -> f64 {
        (high - low) * f64::from(self.next()) / f64::from(TREE_SEED_BOUND) + low
    }
}
