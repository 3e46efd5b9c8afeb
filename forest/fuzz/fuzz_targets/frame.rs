//! A canonical frame, or a CSV text, is written and read again as the same, or it is refused.

#![no_main]

#[path = "../checks/frame.rs"]
mod check;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    check::frames(bytes);
});
