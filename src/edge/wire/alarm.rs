//! A timer that is left alone as long as its time only moves away: when it rings too early, it is set anew.
//!
//! To set a timer costs hundreds of instructions and, if it is the next of its thread to ring, a system call.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::time::{Instant, Sleep, sleep_until};

/// The timer.
#[derive(Debug, Default)]
pub(in crate::edge) struct Alarm(Option<Pin<Box<Sleep>>>);

impl Alarm {
    /// Resolves at this time, which may be another one whenever it is asked.
    pub(in crate::edge) fn poll(&mut self, time: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let timer = self.0.get_or_insert_with(|| Box::pin(sleep_until(time)));
        if timer.deadline() > time {
            timer.as_mut().reset(time);
        }
        while timer.as_mut().poll(cx).is_ready() {
            if timer.deadline() >= time {
                return Poll::Ready(());
            }
            timer.as_mut().reset(time);
        }
        Poll::Pending
    }

    /// Waits until this time.
    pub(in crate::edge) async fn at(&mut self, time: Instant) {
        poll_fn(|cx| self.poll(time, cx)).await;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_rings_at_the_time_that_it_was_last_told() {
        let (mut alarm, start) = (Alarm::default(), Instant::now());
        for (first, last) in [(5, 9), (40, 20), (60, 50), (1, 2)] {
            let at = |seconds| start + Duration::from_secs(seconds);
            let not_yet = poll_fn(|cx| Poll::Ready(alarm.poll(at(first), cx))).await;
            assert_eq!(not_yet.is_pending(), at(first) > Instant::now(), "{first}");
            alarm.at(at(last)).await;
            assert!(Instant::now() >= at(last), "{last}");
        }
        assert_eq!(start.elapsed().as_secs(), 50);
    }
}
