//! A canonical frame is read and written again as the same bytes, or refused; a CSV text is a frame, or refused.

#![no_main]

use libfuzzer_sys::fuzz_target;
use regrove_forest::{Frame, FrameLimits};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(frame) = Frame::from_bytes(bytes) {
        let written = frame.to_bytes().expect("names that were read can be written");
        let again = Frame::from_bytes(&written).expect("a written frame is read");
        assert_eq!(again.sha256().expect("names can be written"), frame.sha256().expect("names can be written"));
    }
    let limits = FrameLimits { rows_max: 1000, columns_max: 100, bytes_max: 1 << 16 };
    if let Ok(frame) = Frame::from_csv(bytes, "target", &limits) {
        assert!(frame.n_samples() <= 1000 && frame.n_features() < 100);
        assert!(!frame.columns().iter().any(|value| value.is_infinite()));
    }
});
