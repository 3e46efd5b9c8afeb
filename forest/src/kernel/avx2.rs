//! The loops of training as the compiler makes them with AVX2.
//!
//! What compares, adds or finds the smallest of neighbours becomes vector code by itself. What moves items to where a bit
//! says stays one item at a time: AVX2 cannot compress.

#![expect(unsafe_code, reason = "code that is compiled for instructions which not every processor has")]

use super::{Packing, Side, Trees, Wanted, portable};
use crate::model_file::nodes::{self, Packed};

/// Whether the processor has these instructions.
pub(super) fn is_here() -> bool {
    is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("bmi1")
        && is_x86_feature_detected!("bmi2")
        && is_x86_feature_detected!("lzcnt")
        && is_x86_feature_detected!("popcnt")
}

/// Defines functions that run the plain loops, compiled again.
macro_rules! compiled_again {
    ($($name:ident($($argument:ident: $type:ty),*) -> $result:ty = $plain:path;)*) => {$(
        pub(super) fn $name($($argument: $type),*) -> $result {
            #[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
            fn again($($argument: $type),*) -> $result {
                $plain($($argument),*)
            }
            // SAFETY: the level is only chosen where `is_here`.
            unsafe { again($($argument),*) }
        }
    )*};
}

pub(super) use compiled_again;

compiled_again! {
    select(packing: Packing, order: &[u32], weights: &[u8], out: &mut [u32]) -> usize = portable::select;
    partition(packing: Packing, column: &mut [u32], spare: &mut [u32], side: Side<'_>, wanted: Wanted) -> () = portable::partition;
    renumber(packing: Packing, items: &mut [u32], numbers: &[u32]) -> () = portable::renumber;
    pair_costs(items: &[u32], total: (u32, u32), costs: &mut [f32]) -> () = portable::pair_costs;
    pair_sums(items: &[u32]) -> (u64, u64) = portable::pair_sums;
    smallest(costs: &[f32]) -> f32 = portable::smallest;
    next_within(costs: &[f32], from: usize, limit: f32) -> Option<usize> = portable::next_within;
    are_sound(nodes: &[Packed], n_features: usize, n_values: usize) -> bool = nodes::are_sound;
    are_sound_blocks(trees: &Trees<'_>, tree: usize) -> bool = Trees::are_sound;
}
