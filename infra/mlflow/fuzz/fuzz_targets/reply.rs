//! Whatever MLflow answers: what it stands for, written and read again as the same, or an error.

#![no_main]

#[path = "../checks/reply.rs"]
mod check;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| {
    check::replies(text);
});
