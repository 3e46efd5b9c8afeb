//! Whatever the body is: rows that fit the model, or a problem. Never a panic, never an infinite value.

#![no_main]

use libfuzzer_sys::fuzz_target;
use regrove_predict::{Signature, bodies};

fuzz_target!(|body: &[u8]| {
    let signature = Signature::new(&["a".to_owned(), "b".to_owned(), "c".to_owned()]);
    if let Ok(rows) = bodies::invocation(body, &signature) {
        assert_eq!(rows.values.len(), rows.n_rows * 3);
        assert!(rows.n_rows > 0 && !rows.values.iter().any(|value| value.is_infinite()));
    }
});
