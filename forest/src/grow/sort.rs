//! Sorting values together with their rows, in the very order that scikit-learn's trees use.
//!
//! Where sums depend on the order of rows, so does the order of equal values. This is introsort (Musser 1997) with the
//! pivot of "Engineering a sort function" (1993) and a three-way partition, as in scikit-learn's `utils/_sorting.pyx` (BSD-3-Clause).

/// Slices up to this length are sorted by insertion.
const INSERTION_MAX: usize = 15;

/// Sorts `values` ascending and moves `rows` alike. The values must not be NaN.
pub(super) fn sort_together(values: &mut [f32], rows: &mut [u32]) {
    if let Some(log) = values.len().checked_ilog2() {
        introsort(&mut Pairs { values, rows }, 2 * log);
    }
}

struct Pairs<'a> {
    values: &'a mut [f32],
    rows: &'a mut [u32],
}

impl Pairs<'_> {
    fn swap(&mut self, one: usize, other: usize) {
        self.values.swap(one, other);
        self.rows.swap(one, other);
    }

    fn part(&mut self, from: usize, to: usize) -> Pairs<'_> {
        Pairs { values: &mut self.values[from..to], rows: &mut self.rows[from..to] }
    }

    /// Median of the first, the middle and the last value.
    fn median(&self) -> f32 {
        let n = self.values.len();
        let (a, b, c) = (self.values[0], self.values[n / 2], self.values[n - 1]);
        if a < b {
            if b < c {
                b
            } else if a < c {
                c
            } else {
                a
            }
        } else if b < c {
            if a < c { a } else { c }
        } else {
            b
        }
    }

    /// Sorts the values into below, at and above the pivot; returns where the last two parts begin.
    fn partition(&mut self, pivot: f32) -> (usize, usize) {
        let (mut at, mut low, mut high) = (0, 0, self.values.len());
        while at < high {
            if self.values[at] < pivot {
                self.swap(at, low);
                at += 1;
                low += 1;
            } else if self.values[at] > pivot {
                high -= 1;
                self.swap(at, high);
            } else {
                at += 1;
            }
        }
        (low, high)
    }

    fn insertion_sort(&mut self) {
        for from in 1..self.values.len() {
            let mut to = from;
            while to > 0 && self.values[to - 1] > self.values[to] {
                self.swap(to, to - 1);
                to -= 1;
            }
        }
    }

    fn heap_sort(&mut self) {
        let n = self.values.len();
        for start in (0..=(n - 2) / 2).rev() {
            self.sift_down(start, n);
        }
        for end in (1..n).rev() {
            self.swap(0, end);
            self.sift_down(0, end);
        }
    }

    fn sift_down(&mut self, mut root: usize, end: usize) {
        loop {
            let child = 2 * root + 1;
            let mut largest = root;
            if child < end && self.values[largest] < self.values[child] {
                largest = child;
            }
            if child + 1 < end && self.values[largest] < self.values[child + 1] {
                largest = child + 1;
            }
            if largest == root {
                return;
            }
            self.swap(root, largest);
            root = largest;
        }
    }
}

fn introsort(pairs: &mut Pairs<'_>, mut depth_left: u32) {
    let (mut start, n) = (0, pairs.values.len());
    while n - start > INSERTION_MAX {
        let mut rest = pairs.part(start, n);
        if depth_left == 0 {
            rest.heap_sort();
            return;
        }
        depth_left -= 1;
        let pivot = rest.median();
        let (low, high) = rest.partition(pivot);
        introsort(&mut rest.part(0, low), depth_left);
        start += high;
    }
    pairs.part(start, n).insertion_sort();
}

#[cfg(test)]
mod tests {
    use super::{Pairs, introsort, sort_together};
    use crate::random::RandomState;

    #[test]
    fn values_and_rows_stay_together_in_every_size_and_with_many_ties() {
        let mut stream = RandomState::new(1);
        for n in [0, 1, 2, 15, 16, 17, 100, 1000] {
            for bound in [2, 7, 1_000_000] {
                #[expect(clippy::cast_precision_loss, reason = "small numbers")]
                let original: Vec<f32> = (0..n).map(|_| stream.randint(bound) as f32).collect();
                let mut values = original.clone();
                let mut rows: Vec<u32> = (0..n).collect();
                sort_together(&mut values, &mut rows);
                assert!(values.is_sorted());
                let moved: Vec<f32> = rows.iter().map(|row| original[*row as usize]).collect();
                assert_eq!(moved, values);
                rows.sort_unstable();
                assert!(rows.into_iter().eq(0..n));
            }
        }
    }

    #[test]
    fn the_worst_case_for_the_pivot_ends_in_heap_sort() {
        let n = 4096_u16;
        // An organ pipe keeps the median of three at an end of every part. Each value is there twice.
        let pipe: Vec<f32> = (0..n).map(|at| f32::from(at.min(n - at))).collect();
        let order = |sort: fn(&mut [f32], &mut [u32])| {
            let (mut values, mut rows) = (pipe.clone(), (0..u32::from(n)).collect::<Vec<u32>>());
            sort(&mut values, &mut rows);
            assert!(values.is_sorted());
            rows
        };
        let without_end = order(|values, rows| introsort(&mut Pairs { values, rows }, u32::MAX));
        // Heap sort, which nothing else calls, leaves ties in another order.
        assert_ne!(order(sort_together), without_end);
    }
}
