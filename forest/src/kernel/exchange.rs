//! Two parts of a slice exchange what belongs into the other one, for [`crate::grow`]'s introsort.

#[cfg(target_arch = "x86_64")]
mod avx512;

use std::hint::select_unpredictable;

use super::Level;

/// The numbers up to `last`, from the end of `back` on, with their places in it. Both outputs must be as long as `back`; returns how
/// many there are.
pub(crate) fn late(level: Level, back: &[u64], last: u64, numbers: &mut [u64], places: &mut [u32]) -> usize {
    match level {
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => avx512::late(back, last, numbers, places),
        _ => late_portable(back, last, numbers, places),
    }
}

/// What two parts exchange.
#[derive(Debug)]
pub(crate) struct Exchange<'a> {
    /// The least number that is told where it is afterwards, and the largest that stays in the front.
    pub(crate) bounds: (u64, u64),
    /// What comes into the front, in this order; as long as the front.
    pub(crate) late: &'a [u64],
    /// Gets what leaves the front, in its order; as long as the front.
    pub(crate) early: &'a mut [u64],
    /// Gets the places of numbers from the least of `bounds` on.
    pub(crate) found: &'a mut Vec<usize>,
}

/// Puts the next of [`Exchange::late`] in the place of each number of `front` above the bounds.
pub(crate) fn exchange(level: Level, front: &mut [u64], with: Exchange<'_>) {
    match level {
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => avx512::exchange(front, with),
        _ => exchange_portable(front, with, 0, 0),
    }
}

fn late_portable(back: &[u64], last: u64, numbers: &mut [u64], places: &mut [u32]) -> usize {
    let mut n = 0;
    for (place, &number) in back.iter().enumerate().rev() {
        numbers[n] = number;
        places[n] = u32::try_from(place).unwrap_or(u32::MAX);
        n += usize::from(number <= last);
    }
    n
}

/// [`exchange`] from the place `at` on, after `n` were exchanged before it.
fn exchange_portable(front: &mut [u64], with: Exchange<'_>, at: usize, mut n: usize) {
    let Exchange { bounds: (first, last), late, early, found } = with;
    for (at, number) in front.iter_mut().enumerate().skip(at) {
        let own = *number;
        let is_above = own > last;
        early[n] = own;
        *number = select_unpredictable(is_above, late[n], own);
        n += usize::from(is_above);
        if *number >= first {
            found.push(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::tests::sizes;
    use crate::random::RandomState;

    #[test]
    fn every_level_exchanges_alike() {
        let mut stream = RandomState::new(8);
        for n in sizes() {
            let mut drawn = |bound| (0..n).map(|_| u64::from(stream.randint(bound))).collect::<Vec<u64>>();
            for bound in [4, 1000] {
                let (front, back, (first, last)) = (drawn(bound), drawn(bound), (1, 2));
                let outputs = || (vec![0; front.len()], vec![0_u32; front.len()]);
                let expected: Vec<(usize, u64)> =
                    back.iter().copied().enumerate().rev().filter(|(_, number)| *number <= last).collect();
                for level in Level::all() {
                    let (mut numbers, mut places) = outputs();
                    let n_late = late(level, &back, last, &mut numbers, &mut places);
                    let got: Vec<(usize, u64)> =
                        places.iter().map(|place| *place as usize).zip(numbers.iter().copied()).take(n_late).collect();
                    assert_eq!(got, expected, "{level:?}, {n} numbers");
                    let (mut changed, mut early, mut found) = (front.clone(), vec![0; front.len()], Vec::new());
                    let bounds = (first, last);
                    let with = Exchange { bounds, late: &back, early: &mut early, found: &mut found };
                    exchange(level, &mut changed, with);
                    let above: Vec<u64> = front.iter().copied().filter(|number| *number > last).collect();
                    assert_eq!(early[..above.len()], above, "{level:?}, {n} numbers");
                    let mut next = back.iter();
                    let is: Vec<u64> =
                        front.iter().map(|own| if *own > last { *next.next().unwrap() } else { *own }).collect();
                    assert_eq!(changed, is, "{level:?}, {n} numbers");
                    let places: Vec<usize> = (0..is.len()).filter(|at| is[*at] >= first).collect();
                    assert_eq!(found, places, "{level:?}, {n} numbers");
                }
            }
        }
    }
}
