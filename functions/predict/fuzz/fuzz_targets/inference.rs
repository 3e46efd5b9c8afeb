//! The Open Inference Protocol: the first two bytes say how long the JSON part is, the others are the body.

#![no_main]

use libfuzzer_sys::fuzz_target;
use regrove_predict::{Signature, bodies};

fuzz_target!(|input: &[u8]| {
    let Some((length, body)) = input.split_first_chunk::<2>() else { return };
    let Some((json, binary)) = body.split_at_checked(u16::from_le_bytes(*length) as usize) else { return };
    let signature = Signature::new(&["a".to_owned(), "b".to_owned(), "c".to_owned()]);
    if let Ok(rows) = bodies::inference(json, binary, &signature) {
        assert_eq!(rows.values.len(), rows.n_rows * 3);
        assert!(rows.n_rows > 0 && !rows.values.iter().any(|value| value.is_infinite()));
    }
});
