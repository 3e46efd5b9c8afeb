//! How much memory a fit takes. The only test of its file, so that it has a process of its own.

#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "tests: a failure is the answer")]

use regrove_forest::random::RandomState;
use regrove_forest::{Frame, Label, RandomForestParams, Target, fit};

const N_SAMPLES: usize = 2_000_000;
const N_FEATURES: usize = 20;
/// The peak of a fit of two trees on two threads as a multiple of the float32 data: 10⁷ rows are to fit three times their size.
const PEAK_MAX: f64 = 3.0;

/// A line of `/proc/self/status`, in bytes.
#[expect(clippy::cast_precision_loss, reason = "bytes below 2^53")]
fn status(name: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    let kibibytes: u64 = line.trim().trim_end_matches("kB").trim().parse().unwrap();
    (kibibytes * 1024) as f64
}

/// Two classes told by the sum of three features, with one row in fifty turned. Values lie far enough from each other to be
/// cut apart, as most do: where they do not, a node's are sorted.
#[expect(clippy::cast_possible_truncation, reason = "features are float32")]
fn frame() -> Frame {
    let mut stream = RandomState::new(5);
    let columns: Vec<f32> = (0..N_SAMPLES * N_FEATURES).map(|_| (100.0 * stream.random_sample()) as f32).collect();
    let class = |row: usize| {
        let sum: f32 = (0..3).map(|feature| columns[feature * N_SAMPLES + row]).sum();
        u32::from((sum > 150.0) != row.is_multiple_of(50))
    };
    let indexes = (0..N_SAMPLES).map(class).collect();
    let names = (0..N_FEATURES).map(|feature| format!("f{feature}")).collect();
    let target = Target::Classes { classes: vec![Label::Int(0), Label::Int(1)], indexes };
    Frame::new(names, columns, "target", target).unwrap()
}

#[test]
#[expect(clippy::cast_precision_loss, reason = "bytes below 2^53")]
fn millions_of_rows_are_learned_within_three_times_their_size() {
    let before = status("VmRSS:");
    let frame = frame();
    let two = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
    let params = RandomForestParams { n_estimators: 2, ..RandomForestParams::default() };
    let forest = two.install(|| fit(&frame, &params)).unwrap();
    let nodes = forest.trees()[0].node_count();
    assert!(nodes > 50_000, "a tree of {nodes} nodes shows little");
    let peak = (status("VmHWM:") - before) / (N_SAMPLES * N_FEATURES * size_of::<f32>()) as f64;
    assert!(peak < PEAK_MAX, "{peak} times the data");
}
