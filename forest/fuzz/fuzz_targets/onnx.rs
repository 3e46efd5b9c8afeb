//! Whatever the bytes are: a model whose native file can be read again and answers, or an error.

#![no_main]

#[path = "../checks/onnx.rs"]
mod check;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    check::is_sound(bytes);
});
