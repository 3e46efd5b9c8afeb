//! Whatever the bytes are: a model that answers the same with every instruction set, or an error. The SHA-256 in the
//! header is not looked at: changed bytes would all end there.

#![no_main]

#[path = "../checks/model_file.rs"]
mod check;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    check::is_sound(bytes);
});
