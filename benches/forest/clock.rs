//! CPU time, which other programs on the machine disturb less than wall time.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// CPU time of the process, user and system.
pub(crate) fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// CPU and wall seconds of a piece of work. Its result is dropped outside the measurement.
pub(crate) fn timed<T>(work: impl FnOnce() -> T) -> (f64, f64) {
    let (cpu, wall) = (cpu_time(), std::time::Instant::now());
    let result = work();
    let times = (cpu_time().saturating_sub(cpu).as_secs_f64(), wall.elapsed().as_secs_f64());
    drop(result);
    times
}

/// The middle one of some numbers; NaN if there are none.
pub(crate) fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers.get(numbers.len() / 2).copied().unwrap_or(f64::NAN)
}
