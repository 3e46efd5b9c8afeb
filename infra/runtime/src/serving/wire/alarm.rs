//! One timer for all bounds of a connection, one after the other.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use tokio::time::Sleep;

/// A timer that is moved lazily: a bound that only gets later costs nothing, the timer looks again when it goes off. So
/// a kept connection touches the timer wheel once per bound that it really reaches, not once per request.
#[derive(Debug)]
pub(super) struct Alarm {
    sleep: Pin<Box<Sleep>>,
    /// When the timer goes off; not later than `due`.
    armed: Instant,
    due: Instant,
}

impl Alarm {
    pub(super) fn new(due: Instant) -> Self {
        Self { sleep: Box::pin(tokio::time::sleep_until(due.into())), armed: due, due }
    }

    /// Sets the bound.
    pub(super) fn set(&mut self, due: Instant) {
        self.due = due;
        if due < self.armed {
            self.arm();
        }
    }

    fn arm(&mut self) {
        self.armed = self.due;
        self.sleep.as_mut().reset(self.due.into());
    }

    /// Ready once the bound has passed.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        loop {
            ready!(self.sleep.as_mut().poll(context));
            if Instant::now() >= self.due {
                return Poll::Ready(());
            }
            self.arm();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn it_goes_off_at_the_last_bound_and_not_before() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut alarm = Alarm::new(at(5));
        alarm.set(at(40));
        poll_fn(|context| alarm.poll(context)).await;
        assert!(Instant::now() >= at(40), "the first bound was taken back");
        alarm.set(at(600_000));
        alarm.set(at(60));
        poll_fn(|context| alarm.poll(context)).await;
        assert!(Instant::now() >= at(60) && Instant::now() < at(500_000), "the second was replaced by an earlier one");
        poll_fn(|context| alarm.poll(context)).await;
    }
}
