//! The words of MT19937 (Matsumoto and Nishimura 1998), whole states of them at once, as most words are drawn by the million.

/// Words of the state.
pub(super) const N_WORDS: usize = 624;
/// Distance to the word that a new one is made with.
const M: usize = 397;

/// A stream of 32-bit words.
#[derive(Debug, Clone)]
pub(super) struct Mersenne {
    state: [u32; N_WORDS],
    /// The next word of the state; [`N_WORDS`] when all were drawn.
    at: usize,
}

impl Mersenne {
    /// The stream of a seed: the paper's `init_genrand` of 2002.
    pub(super) fn new(seed: u32) -> Self {
        let mut state = [seed; N_WORDS];
        for at in 1..N_WORDS {
            let before = state[at - 1];
            #[expect(clippy::cast_possible_truncation, reason = "below 624")]
            let place = at as u32;
            state[at] = 1_812_433_253_u32.wrapping_mul(before ^ before >> 30).wrapping_add(place);
        }
        Self { state, at: N_WORDS }
    }

    pub(super) fn next_word(&mut self) -> u32 {
        if self.at == N_WORDS {
            self.renew();
        }
        self.at += 1;
        temper(self.state[self.at - 1])
    }

    /// The next words, one at least, as many as are at hand; returns how many of `words` they fill.
    pub(super) fn next_words(&mut self, words: &mut [u32; N_WORDS]) -> usize {
        if self.at == N_WORDS {
            self.renew();
        }
        let left = &self.state[self.at..];
        for (word, own) in words.iter_mut().zip(left) {
            *word = temper(*own);
        }
        self.at = N_WORDS;
        left.len()
    }

    /// Makes the next state. What a loop reads of its own words was written 227 steps before, so that a processor makes several
    /// at once.
    fn renew(&mut self) {
        let state = &mut self.state;
        for at in 0..N_WORDS - M {
            state[at] = state[at + M] ^ twist(state[at], state[at + 1]);
        }
        for at in N_WORDS - M..N_WORDS - 1 {
            state[at] = state[at + M - N_WORDS] ^ twist(state[at], state[at + 1]);
        }
        state[N_WORDS - 1] = state[M - 1] ^ twist(state[N_WORDS - 1], state[0]);
        self.at = 0;
    }
}

/// The upper bit of one word and the lower ones of the next, times the matrix.
fn twist(one: u32, next: u32) -> u32 {
    const UPPER: u32 = 1 << 31;
    const MATRIX: u32 = 0x9908_B0DF;
    (one & UPPER | next & !UPPER) >> 1 ^ (next & 1).wrapping_neg() & MATRIX
}

fn temper(word: u32) -> u32 {
    let word = word ^ word >> 11;
    let word = word ^ word << 7 & 0x9D2C_5680;
    let word = word ^ word << 15 & 0xEFC6_0000;
    word ^ word >> 18
}

#[cfg(test)]
mod tests {
    use super::{Mersenne, N_WORDS};

    #[test]
    fn words_are_those_of_another_implementation_however_they_are_drawn() {
        for seed in [0, 1, 42, 19_650_218, u32::MAX] {
            let mut expected = rand_mt::Mt::new(seed);
            let mut stream = Mersenne::new(seed);
            for n_single in [0, 1, 5, 622, 623, 624, 700] {
                for _ in 0..n_single {
                    assert_eq!(stream.next_word(), expected.next_u32(), "seed {seed}");
                }
                let mut words = [0; N_WORDS];
                let n = stream.next_words(&mut words);
                assert!((1..=N_WORDS).contains(&n));
                assert!(words[..n].iter().all(|word| *word == expected.next_u32()), "seed {seed}");
            }
        }
    }
}
