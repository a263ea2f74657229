//! A sliding window of one minute, in steps of a second.
//!
//! In any 60 seconds, no more is admitted than the limit allows: a request counts until a minute has passed since
//! the end of the second in which it arrived. The memory is the same for every limit.

/// The usage of one key in the last minute. Times are in seconds since an arbitrary start.
#[derive(Debug)]
pub(super) struct Window {
    seconds: [Second; SECONDS_COUNT],
    requests: u64,
    tokens: u64,
}

/// The usage of one second.
#[derive(Clone, Copy, Debug, Default)]
struct Second {
    at: u64,
    requests: u64,
    tokens: u64,
}

/// The quantities that a window counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Counted {
    Requests,
    Tokens,
}

impl Default for Window {
    fn default() -> Self {
        Self { seconds: [Second::default(); SECONDS_COUNT], requests: 0, tokens: 0 }
    }
}

impl Window {
    /// Returns the usage of the minute before `now`.
    pub(super) fn used(&mut self, kind: Counted, now: u64) -> u64 {
        self.expire(now);
        match kind {
            Counted::Requests => self.requests,
            Counted::Tokens => self.tokens,
        }
    }

    /// Adds to the usage.
    pub(super) fn add(&mut self, kind: Counted, count: u64, now: u64) {
        self.expire(now);
        let second = self.second(now);
        second.at = now;
        match kind {
            Counted::Requests => {
                second.requests += count;
                self.requests += count;
            }
            Counted::Tokens => {
                second.tokens += count;
                self.tokens += count;
            }
        }
    }

    /// Takes back what was added at `added` and not needed, unless that is more than a minute ago.
    pub(super) fn take_back(&mut self, kind: Counted, count: u64, added: u64, now: u64) {
        self.expire(now);
        let second = self.second(added);
        if second.at != added {
            return;
        }
        let count = count.min(second.of(kind));
        match kind {
            Counted::Requests => {
                second.requests -= count;
                self.requests -= count;
            }
            Counted::Tokens => {
                second.tokens -= count;
                self.tokens -= count;
            }
        }
    }

    /// Returns the seconds until so much has left the window that at most `rest` is used.
    pub(super) fn wait(&mut self, kind: Counted, rest: u64, now: u64) -> u64 {
        let mut used = self.used(kind, now);
        let mut seconds = self.seconds;
        seconds.sort_by_key(|second| second.at);
        for second in seconds {
            let part = second.of(kind);
            if used <= rest {
                break;
            }
            used -= part;
            if used <= rest {
                return (second.at + WINDOW_SECONDS).saturating_sub(now);
            }
        }
        0
    }

    fn expire(&mut self, now: u64) {
        for second in &mut self.seconds {
            if second.at + WINDOW_SECONDS <= now && (second.requests > 0 || second.tokens > 0) {
                self.requests -= second.requests;
                self.tokens -= second.tokens;
                *second = Second::default();
            }
        }
    }

    fn second(&mut self, at: u64) -> &mut Second {
        let place = usize::try_from(at % WINDOW_SECONDS).unwrap_or_default();
        &mut self.seconds[place]
    }
}

impl Second {
    fn of(&self, kind: Counted) -> u64 {
        match kind {
            Counted::Requests => self.requests,
            Counted::Tokens => self.tokens,
        }
    }
}

/// The seconds that are kept: the current one, and the 60 before it.
const SECONDS_COUNT: usize = 61;

/// The seconds until the usage of one second no longer counts: a minute after the end of that second.
const WINDOW_SECONDS: u64 = SECONDS_COUNT as u64;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_request_counts_for_a_minute() {
        let mut window = Window::default();
        window.add(Counted::Requests, 1, 100);
        assert_eq!((window.used(Counted::Requests, 160), window.used(Counted::Requests, 161)), (1, 0));
    }

    #[test]
    fn the_wait_is_as_long_as_it_has_to_be() {
        let mut window = Window::default();
        for (tokens, at) in [(50, 10), (30, 20), (20, 30)] {
            window.add(Counted::Tokens, tokens, at);
        }
        let mut wait = |rest| window.wait(Counted::Tokens, rest, 40);
        assert_eq!([wait(100), wait(99), wait(50), wait(49), wait(0)], [0, 31, 31, 41, 51]);
    }

    #[test]
    fn tokens_are_taken_back_where_they_were_added() {
        let mut window = Window::default();
        window.add(Counted::Tokens, 50, 10);
        window.add(Counted::Tokens, 50, 20);
        window.take_back(Counted::Tokens, 40, 10, 30);
        assert_eq!(window.used(Counted::Tokens, 30), 60);
        window.take_back(Counted::Tokens, 50, 20, 90);
        assert_eq!(window.used(Counted::Tokens, 90), 0);
    }

    proptest! {
        #[test]
        fn no_minute_ever_holds_more_than_the_limit(steps in proptest::collection::vec(0..20_u64, 1..200)) {
            let (mut window, mut now, mut admitted) = (Window::default(), 1_000, Vec::new());
            for step in steps {
                now += step;
                if window.used(Counted::Requests, now) < 5 {
                    window.add(Counted::Requests, 1, now);
                    admitted.push(now);
                } else {
                    let wait = window.wait(Counted::Requests, 4, now);
                    prop_assert!((1..=WINDOW_SECONDS).contains(&wait));
                    // Not too early, and not a second too late.
                    prop_assert!(window.used(Counted::Requests, now + wait - 1) >= 5 || wait == 0);
                    now += wait;
                    prop_assert!(window.used(Counted::Requests, now) < 5);
                }
            }
            for start in &admitted {
                prop_assert!(admitted.iter().filter(|at| (*start..=start + 60).contains(*at)).count() <= 5);
            }
        }
    }
}
