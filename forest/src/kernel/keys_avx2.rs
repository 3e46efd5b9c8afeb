//! The loops of growing by ranks as the compiler makes them with AVX2.

#![expect(unsafe_code, reason = "code that is compiled for instructions which not every processor has")]

use super::Packing;
use super::avx2::compiled_again;
use super::keys::{CODES, CodeSet, Codes, Lane, Lefts, TOGETHER, portable};

/// Items by number, and a column by row.
type Columns<'a> = (Option<&'a [u32]>, &'a [u32]);

compiled_again! {
    gather(packing: Packing, column: &[u32], items: &[u32], out: &mut [u32]) -> (u32, u32) = portable::gather;
    tally_codes(codes: Codes<'_>, features: [usize; TOGETHER], shift: u32, items: &[u32], bins: &mut [[u64; CODES]; TOGETHER], places: &mut [u32]) -> () = portable::tally_codes;
    choose(items: &[u32], codes: Lane<'_>, set: &CodeSet, out: &mut [u32]) -> usize = portable::choose;
    divide_codes(columns: Columns<'_>, cut: (u32, u32), codes: Lane<'_>, items: &mut [u32], spare: &mut [u32]) -> usize = portable::divide_codes;
    compare_pairs(packing: Packing, keys: &[u32], base: (u32, u32), lefts: &mut Lefts) -> () = portable::compare_pairs;
    costs(lefts: &Lefts, total: (u32, u32), costs: &mut [f32]) -> f32 = portable::costs;
    slacks(lefts: &Lefts, base: (u32, u32), total: (u32, u32), limit: f32, slacks: &mut [f32]) -> () = portable::slacks;
    within(keys: &[u32], low: u32, high: u32, out: &mut [u32]) -> usize = portable::within;
    border(keys: &[u32], last: u32) -> (usize, u32, u32) = portable::border;
    divide(keys: &[u32], last: u32, items: &mut [u32], spare: &mut [u32]) -> usize = portable::divide;
}
