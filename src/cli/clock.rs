//! Points in time as the user reads them: local time of day in lines, UTC with a date in JSON.

/// A point in time with the offset of the user's own clock from UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Milliseconds since 1970.
    pub unix_ms: u64,
    /// Seconds that local time is ahead of UTC.
    pub offset_seconds: i64,
}

const DAY_SECONDS: i64 = 86_400;

impl Moment {
    /// Returns the local time of day: `12:03:07`.
    pub fn time_of_day(&self) -> String {
        let second = (self.seconds() + self.offset_seconds).rem_euclid(DAY_SECONDS);
        format!("{:02}:{:02}:{:02}", second / 3600, second / 60 % 60, second % 60)
    }

    /// Returns the moment in UTC as in RFC 3339, to the millisecond: `2026-08-01T10:03:07.250Z`.
    pub fn rfc3339(&self) -> String {
        let second = self.seconds();
        let (year, month, day) = civil(second.div_euclid(DAY_SECONDS));
        let time = Self { offset_seconds: 0, ..*self }.time_of_day();
        format!("{year:04}-{month:02}-{day:02}T{time}.{:03}Z", self.unix_ms % 1000)
    }

    /// Returns the moment as this user's clock shows it: the offset is that of the zone in TZ or the system's.
    pub fn local(unix_ms: u64) -> Self {
        let seconds = libc::time_t::try_from(unix_ms / 1000).unwrap_or(libc::time_t::MAX);
        let mut broken_down = std::mem::MaybeUninit::<libc::tm>::zeroed();
        // SAFETY: both pointers are valid for the call, and a zeroed `tm` is a valid value whether or not it is
        // filled in. Nothing in this program changes the environment that localtime_r reads.
        let offset = unsafe {
            libc::localtime_r(&raw const seconds, broken_down.as_mut_ptr());
            broken_down.assume_init().tm_gmtoff
        };
        Self { unix_ms, offset_seconds: offset }
    }

    fn seconds(&self) -> i64 {
        i64::try_from(self.unix_ms / 1000).expect("milliseconds divided by 1000 fit")
    }
}

/// Returns year, month and day of a day counted from 1970-01-01 in the proleptic Gregorian calendar.
///
/// Counts in years that begin in March, so that the leap day is a year's last and month lengths follow one formula.
fn civil(days_since_1970: i64) -> (i64, i64, i64) {
    const DAYS_OF_400_YEARS: i64 = 146_097;
    const FROM_YEAR_0_TO_1970: i64 = 719_468;
    let days = days_since_1970 + FROM_YEAR_0_TO_1970;
    let era = days.div_euclid(DAYS_OF_400_YEARS);
    let day_of_era = days.rem_euclid(DAYS_OF_400_YEARS);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn moment(unix_seconds: u64) -> Moment {
        Moment { unix_ms: unix_seconds * 1000, offset_seconds: 0 }
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        assert_eq!(moment(0).rfc3339(), "1970-01-01T00:00:00.000Z");
        assert_eq!(moment(951_782_400).rfc3339(), "2000-02-29T00:00:00.000Z");
        assert_eq!(moment(4_107_542_399).rfc3339(), "2100-02-28T23:59:59.000Z");
        assert_eq!(moment(4_107_542_400).rfc3339(), "2100-03-01T00:00:00.000Z");
        assert_eq!(
            Moment { unix_ms: 1_785_578_587_250, offset_seconds: 0 }.rfc3339(),
            "2026-08-01T10:03:07.250Z"
        );
    }

    #[test]
    fn lines_show_local_time() {
        assert_eq!(Moment { unix_ms: 1_785_578_587_250, offset_seconds: 7200 }.time_of_day(), "12:03:07");
        assert_eq!(Moment { unix_ms: 0, offset_seconds: -3600 }.time_of_day(), "23:00:00");
    }

    proptest! {
        #[test]
        fn days_follow_one_another(day in 0i64..200_000) {
            let (year, month, date) = civil(day);
            let next = civil(day + 1);
            let is_next = next == (year, month, date + 1)
                || next == (year, month + 1, 1)
                || (month, date) == (12, 31) && next == (year + 1, 1, 1);
            prop_assert!(is_next, "{:?} then {next:?}", (year, month, date));
        }
    }
}
