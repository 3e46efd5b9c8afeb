//! Whatever the body of `/model/load`, `/model/rollback` or `/model/traffic` is: a wish that can be recorded, or a problem.

#![no_main]

#[path = "../checks/request.rs"]
mod check;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| {
    check::requests(body);
});
