//! The times at which a delivery is tried again.

/// Returns the seconds until the next attempt after so many failed ones, with `jitter` hundredths of the usual time.
pub(super) fn delay(failed: u32, jitter: u32) -> i64 {
    let index = usize::try_from(failed.saturating_sub(1)).unwrap_or(usize::MAX);
    let usual = DELAYS.get(index).copied().unwrap_or(LAST_DELAY);
    usual * i64::from(jitter) / 100
}

/// The seconds after the first attempts, as Standard Webhooks recommends.
const DELAYS: [i64; 5] = [5, 30, 120, 600, 3600];

/// The seconds between all further attempts.
const LAST_DELAY: i64 = 3 * 3600;

/// The range of the jitter, in hundredths.
pub(super) const JITTER: std::ops::RangeInclusive<u32> = 80..=120;

/// The seconds after which an event is given up.
pub(super) const MAX_AGE: i64 = 3 * 86_400;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_come_later_and_later() {
        let usual: Vec<_> = (1..=7).map(|failed| delay(failed, 100)).collect();
        assert_eq!(usual, [5, 30, 120, 600, 3600, 10_800, 10_800]);
        assert_eq!([delay(1, *JITTER.start()), delay(1, *JITTER.end())], [4, 6]);
    }
}
