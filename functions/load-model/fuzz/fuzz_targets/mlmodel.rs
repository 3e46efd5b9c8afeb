//! Whatever another program's `MLmodel` is: the place of its ONNX form, or the reason why it is not served.

#![no_main]

#[path = "../checks/mlmodel.rs"]
mod check;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| {
    check::is_described(text);
});
