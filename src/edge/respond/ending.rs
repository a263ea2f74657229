//! The end of a provider's stream, which its protocol tells and not its connection.

use std::time::Duration;

use tokio::time::Instant;

/// The time by which a stream ends, once it has told of its end.
///
/// Comments do not move it: a provider that still sends some has no more to say.
#[derive(Clone, Copy, Debug)]
pub(in crate::edge) struct Ending {
    /// Whether the first finish reason is that of the whole answer.
    single: bool,
    /// The size of the stream at its finish reason.
    size: Option<u64>,
    /// Whether its last event has come.
    over: bool,
    by: Option<Instant>,
}

impl Ending {
    /// The end of a stream of so many simultaneous answers.
    pub(in crate::edge) fn new(choices: u64) -> Self {
        Self { single: choices <= 1, size: None, over: false, by: None }
    }

    /// Notes a stream that has told why it ends. It has grown to `size`, which is compared with the last one: as long as
    /// the answer grows, it has not ended.
    pub(in crate::edge) fn finish(&mut self, size: u64, now: Instant) {
        if self.single && !self.over && self.size.replace(size) != Some(size) {
            self.by = Some(now + AFTER_FINISH);
        }
    }

    /// Notes that the last event of the stream has come.
    pub(in crate::edge) fn close(&mut self, now: Instant) {
        if !std::mem::replace(&mut self.over, true) {
            self.by = Some(now + AFTER_LAST_EVENT);
        }
    }

    /// Returns the time by which the stream ends; `None` as long as it goes on.
    pub(in crate::edge) fn deadline(self) -> Option<Instant> {
        self.by
    }

    /// Whether that time is over.
    pub(in crate::edge) fn is_past(self) -> bool {
        self.by.is_some_and(|by| by <= Instant::now())
    }
}

/// The time after the finish reason in which the token counts and the last event come. They come at once, unless the
/// provider leaves them out.
const AFTER_FINISH: Duration = Duration::from_secs(5);

/// The time after the last event in which the body ends. All has been said then, so it is only waited for in order to use
/// the connection again.
const AFTER_LAST_EVENT: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_answer_itself_moves_the_end() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut ending = Ending::new(1);
        assert_eq!((ending.deadline(), ending.is_past()), (None, false));
        ending.finish(3, start);
        assert_eq!(ending.deadline(), Some(start + AFTER_FINISH));
        ending.finish(3, after(2));
        assert_eq!(ending.deadline(), Some(start + AFTER_FINISH), "a comment");
        ending.finish(4, after(2));
        assert_eq!(ending.deadline(), Some(after(2) + AFTER_FINISH), "an event");
        ending.close(after(3));
        ending.close(after(4));
        ending.finish(5, after(4));
        assert_eq!(ending.deadline(), Some(after(3) + AFTER_LAST_EVENT));
        assert!(!ending.is_past());
    }

    #[test]
    fn the_finish_of_one_of_several_answers_is_not_the_end() {
        let mut ending = Ending::new(2);
        ending.finish(1, Instant::now());
        assert_eq!(ending.deadline(), None);
        ending.close(Instant::now());
        assert!(ending.deadline().is_some());
    }
}
