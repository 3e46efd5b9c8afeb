//! Whatever the body of `/api/jobs` or `/api/sweeps` is: a request that can be recorded, or a problem.

#![no_main]

#[path = "../checks/wish.rs"]
mod check;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| {
    check::wishes(body);
});
