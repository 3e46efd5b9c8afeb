//! How traffic moves to a new latest revision over time (`serving.knative.dev/rollout-duration`).
//!
//! As in Knative: one percent at first, then equal steps, none shorter than what the first step took. The percentages
//! here are of what the latest revision is to get.

use std::time::Duration;

/// Share that a new revision starts with.
const FIRST_PERCENT: u32 = 1;
/// Steps are never shorter.
const STEP_TIME_MIN: Duration = Duration::from_secs(1);

/// A gradual rollout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rollout {
    step_percent: u32,
    step_time: Duration,
}

impl Rollout {
    /// Plans a rollout over `duration` whose first step took `first_step`. `None` when everything moves at once, because
    /// the duration is zero or has no room for a second step.
    pub fn plan(duration: Duration, first_step: Duration) -> Option<Self> {
        let shortest = first_step.max(STEP_TIME_MIN);
        let rest = 100 - FIRST_PERCENT;
        let room = duration.as_millis() / shortest.as_millis().max(1);
        let steps_max = u32::try_from(room).unwrap_or(rest).min(rest);
        if steps_max == 0 {
            return None;
        }
        let step_percent = rest.div_ceil(steps_max);
        Some(Self { step_percent, step_time: duration / rest.div_ceil(step_percent) })
    }

    /// Time between two steps.
    pub fn step_time(&self) -> Duration {
        self.step_time
    }

    /// Share of the new revision after so many steps, 1–100. The first share is that after 0 steps.
    pub fn percent(&self, steps: u32) -> u32 {
        FIRST_PERCENT.saturating_add(self.step_percent.saturating_mul(steps)).min(100)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shares(duration: u64, first_step: u64) -> (Vec<u32>, Duration) {
        let rollout = Rollout::plan(Duration::from_secs(duration), Duration::from_secs(first_step)).unwrap();
        let mut shares = Vec::new();
        while shares.last() != Some(&100) {
            shares.push(rollout.percent(u32::try_from(shares.len()).unwrap()));
        }
        (shares, rollout.step_time())
    }

    #[test]
    fn steps_are_equal_and_fill_the_duration() {
        assert_eq!(shares(3, 0), (vec![1, 34, 67, 100], Duration::from_secs(1)));
        assert_eq!(shares(120, 40), (vec![1, 34, 67, 100], Duration::from_secs(40)));
        let (many, step) = shares(990, 0);
        assert_eq!((many.len(), step), (100, Duration::from_secs(10)), "no step is smaller than a percent");
        let (uneven, step) = shares(10, 0);
        assert_eq!(uneven, [1, 11, 21, 31, 41, 51, 61, 71, 81, 91, 100]);
        assert_eq!(step, Duration::from_secs(1));
    }

    #[test]
    fn without_room_for_a_second_step_all_moves_at_once() {
        assert_eq!(Rollout::plan(Duration::ZERO, Duration::ZERO), None);
        assert_eq!(Rollout::plan(Duration::from_secs(5), Duration::from_secs(6)), None);
    }
}
