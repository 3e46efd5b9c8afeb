//! Whatever is sent as a CloudEvent, in structured or in binary mode: an event that can be sent on and read again as the same,
//! or an error.

#![no_main]

#[path = "../checks/cloud_event.rs"]
mod check;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    check::events(input);
});
