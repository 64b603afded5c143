//! The count of one way's answers: how many came, how many did not, and the longest time without one.

use std::time::Duration;

/// Answers of one way, in the order in which they came. Times are counted from any one start.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    sent: u32,
    lost: u32,
    in_a_row: u32,
    /// When the last answer came.
    answered: Duration,
    longest: Duration,
}

impl Tally {
    /// Takes in how a request ended.
    pub fn settle(&mut self, at: Duration, answered: bool) {
        self.sent += 1;
        if !answered {
            self.lost += 1;
            self.in_a_row = 0;
            return;
        }
        self.in_a_row += 1;
        self.longest = self.longest.max(at.saturating_sub(self.answered));
        self.answered = at;
    }

    /// Counts from here on; the last answer is remembered, since the first gap begins with it.
    pub fn begin(&mut self, at: Duration) {
        // Who never answered is silent from now on, not since the beginning of time.
        let answered = if self.answered.is_zero() { at } else { self.answered };
        *self = Self { answered, ..Self::default() };
    }

    /// Ends the last gap. Returns requests, those lost, and the outage: none if it is shorter than `grain`.
    pub fn end(&self, at: Duration, grain: Duration) -> (u32, u32, Duration) {
        let longest = self.longest.max(at.saturating_sub(self.answered));
        (self.sent, self.lost, if longest < grain { Duration::ZERO } else { longest })
    }

    /// Returns how many answers came since the last request without one.
    pub fn in_a_row(&self) -> u32 {
        self.in_a_row
    }

    /// Starts counting answers in a row anew.
    pub fn forget_row(&mut self) {
        self.in_a_row = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRAIN: Duration = Duration::from_millis(200);

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn tally(answers: &[(u64, bool)]) -> Tally {
        let mut tally = Tally::default();
        tally.settle(ms(900), true);
        tally.begin(ms(1000));
        answers.iter().for_each(|(at, answered)| tally.settle(ms(*at), *answered));
        tally
    }

    #[test]
    fn a_steady_way_has_no_outage() {
        let tally = tally(&[(1010, true), (1120, true), (1230, true)]);
        assert_eq!(tally.end(ms(1300), GRAIN), (3, 0, Duration::ZERO));
        assert_eq!(tally.in_a_row(), 3);
    }

    #[test]
    fn an_outage_lasts_from_the_last_answer_to_the_next() {
        let tally = tally(&[(1010, true), (1500, false), (2110, false), (2400, true), (2500, true)]);
        assert_eq!(tally.end(ms(2600), GRAIN), (5, 2, ms(1390)));
        assert_eq!(tally.in_a_row(), 2);
    }

    #[test]
    fn the_first_and_the_last_gap_count_too() {
        assert_eq!(tally(&[(3000, true)]).end(ms(3000), GRAIN).2, ms(2100), "from the last answer before");
        assert_eq!(tally(&[(1000, true)]).end(ms(4000), GRAIN).2, ms(3000));
        let mut silent = Tally::default();
        silent.begin(ms(1000));
        silent.settle(ms(2000), false);
        assert_eq!(silent.end(ms(6000), GRAIN), (1, 1, ms(5000)));
    }

    #[test]
    fn a_late_answer_is_an_outage_without_a_loss() {
        assert_eq!(tally(&[(1010, true), (1910, true)]).end(ms(1950), GRAIN), (2, 0, ms(900)));
    }
}
