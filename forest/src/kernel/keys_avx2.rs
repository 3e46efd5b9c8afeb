//! The loops of growing by ranks as the compiler makes them with AVX2.

#![expect(unsafe_code, reason = "code that is compiled for instructions which not every processor has")]

use super::Packing;
use super::avx2::compiled_again;
use super::keys::{Bins, CodeSet, Codes, Column, Lane, Lefts, TOGETHER, portable};

compiled_again! {
    gather(packing: Packing, column: Column<'_>, items: &[u32], out: &mut [u32]) -> (u32, u32) = portable::gather;
    tally_keys(keys: &[u32], shift: u32, bins: &mut Bins) -> () = portable::tally_keys;
    tally_together(keys: [&[u32]; TOGETHER], shifts: [u32; TOGETHER], bins: &mut [Bins; TOGETHER]) -> () = portable::tally_together;
    tally_codes(codes: Codes<'_>, features: [usize; TOGETHER], shift: u32, items: &[u32], bins: &mut [Bins; TOGETHER], places: &mut [u32]) -> () = portable::tally_codes;
    choose(items: &[u32], codes: Lane<'_>, set: &CodeSet, out: &mut [u32]) -> usize = portable::choose;
    mark_codes(column: Column<'_>, cut: (u32, u32), codes: Lane<'_>, items: &[u32], marks: &mut [u16]) -> usize = portable::mark_codes;
    costs(lefts: &Lefts, total: (u32, u32), costs: &mut [f32]) -> f32 = portable::costs;
    slacks(lefts: &Lefts, base: (u32, u32), total: (u32, u32), limit: f32, slacks: &mut [f32]) -> () = portable::slacks;
    within(keys: &[u32], low: u32, high: u32, out: &mut [u32]) -> usize = portable::within;
    border(keys: &[u32], last: u32) -> (usize, u32, u32) = portable::border;
    divide(marks: &[u16], items: &mut [u32], spare: &mut [u32]) -> usize = portable::divide;
}
