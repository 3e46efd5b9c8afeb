//! Sums in NumPy's order, so that results agree to the last bit.

/// Terms summed without further splitting.
const BLOCK: usize = 128;
/// Partial sums kept side by side.
const LANES: usize = 8;

/// The sum of a contiguous array as `numpy.sum` forms it: pairwise by halves down to blocks of 128, eight partial sums
/// inside a block.
pub(crate) fn pairwise_sum(terms: &[f64]) -> f64 {
    if terms.len() < LANES {
        return terms.iter().fold(-0.0, |sum, term| sum + term);
    }
    if terms.len() > BLOCK {
        let half = terms.len() / 2;
        let (front, back) = terms.split_at(half - half % LANES);
        return pairwise_sum(front) + pairwise_sum(back);
    }
    let (groups, rest) = terms.as_chunks::<LANES>();
    let mut lanes = groups[0];
    for group in &groups[1..] {
        for (lane, term) in lanes.iter_mut().zip(group) {
            *lane += term;
        }
    }
    let [ab, cd, ef, gh] = [0, 2, 4, 6].map(|lane| lanes[lane] + lanes[lane + 1]);
    let sum = (ab + cd) + (ef + gh);
    rest.iter().fold(sum, |sum, term| sum + term)
}

/// Index of the first largest number; NaN is never larger.
pub(crate) fn argmax(numbers: &[f64]) -> usize {
    let mut best = 0;
    for (at, number) in numbers.iter().enumerate() {
        if *number > numbers[best] {
            best = at;
        }
    }
    best
}
