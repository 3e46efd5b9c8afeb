//! The loops over a block as the compiler makes them with AVX2.

#![expect(unsafe_code, reason = "code that is compiled for instructions which not every processor has")]

use super::portable;
use crate::kernel::avx2::compiled_again;

compiled_again! {
    range(keys: &[u32]) -> (u32, u32) = portable::range;
    mark(keys: &[u32], last: u32, marks: &mut [u16]) -> (usize, (u32, u32)) = portable::mark;
}
