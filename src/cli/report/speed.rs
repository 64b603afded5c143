//! How quickly bytes come, and how long the rest will take.

use std::collections::VecDeque;
use std::time::Duration;

/// A speed is that of the last seconds, so that it follows the line, and what was there before the run does not count.
const WINDOW: Duration = Duration::from_secs(10);
/// How long a transfer is watched before its speed is trusted.
const TRUSTED_AFTER: Duration = Duration::from_secs(1);

/// What has come of one transfer, and when; moments are counted from the start of the run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Speed {
    samples: VecDeque<(Duration, u64)>,
}

impl Speed {
    /// Takes in that so many bytes are here. Fewer than before mean that it began anew.
    pub fn take(&mut self, done: u64, now: Duration) {
        if self.samples.back().is_some_and(|(_, before)| *before > done) {
            self.samples.clear();
        }
        self.samples.push_back((now, done));
        let begin = now.saturating_sub(WINDOW);
        while self.samples.front().is_some_and(|(then, _)| *then < begin) {
            self.samples.pop_front();
        }
    }

    /// Returns bytes in a second; none before there is a speed.
    pub fn rate(&self, now: Duration) -> Option<u64> {
        let begin = now.saturating_sub(WINDOW);
        let (then, before) = *self.samples.iter().find(|(then, _)| *then >= begin)?;
        let (_, done) = *self.samples.back()?;
        let took = now.saturating_sub(then);
        if took < TRUSTED_AFTER {
            return None;
        }
        let per_second = u128::from(done - before) * 1000 / took.as_millis();
        u64::try_from(per_second).ok().filter(|rate| *rate > 0)
    }

    /// Returns how long the rest takes at this speed.
    pub fn left(&self, total: u64, now: Duration) -> Option<Duration> {
        let (_, done) = *self.samples.back()?;
        Some(Duration::from_secs(total.saturating_sub(done) / self.rate(now)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_speed_is_of_the_last_seconds_and_of_this_run() {
        let mut speed = Speed::default();
        assert_eq!((speed.rate(at(0)), speed.left(1000, at(0))), (None, None));
        speed.take(500, at(0));
        assert_eq!(speed.rate(Duration::from_millis(900)), None, "too early to tell");
        speed.take(600, at(10));
        assert_eq!((speed.rate(at(10)), speed.left(1000, at(10))), (Some(10), Some(at(40))));
        for second in 11..=20 {
            speed.take(600 + (second - 10) * 20, at(second));
        }
        assert_eq!(speed.rate(at(20)), Some(20));
    }

    #[test]
    fn a_transfer_that_stands_still_has_no_speed() {
        let mut speed = Speed::default();
        speed.take(0, at(0));
        speed.take(1000, at(1));
        assert_eq!(speed.rate(at(2)), Some(500));
        assert_eq!(speed.rate(at(30)), None);
    }

    #[test]
    fn a_transfer_that_begins_anew_is_another() {
        let mut speed = Speed::default();
        speed.take(900, at(0));
        speed.take(10, at(5));
        speed.take(30, at(7));
        assert_eq!(speed.rate(at(7)), Some(10));
    }
}
