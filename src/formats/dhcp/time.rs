//! Points in time as ISC's DHCP server writes them: `2024/09/25 00:44:14`, in UTC.

const DAY: u64 = 86_400;
/// Days from 0000-03-01 to 1970-01-01 in the Gregorian calendar.
const EPOCH: u64 = 719_468;
/// Days of 400 years, after which the calendar repeats.
const ERA: u64 = 146_097;

/// A point in time, split as calendars do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Moment {
    pub(super) year: u64,
    pub(super) month: u64,
    pub(super) day: u64,
    pub(super) hour: u64,
    pub(super) minute: u64,
    pub(super) second: u64,
    /// 0 is Sunday.
    pub(super) weekday: u64,
}

impl Moment {
    /// Splits seconds since 1970.
    pub(super) fn of(unix: u64) -> Self {
        let (days, seconds) = (unix / DAY, unix % DAY);
        // Years begin in March here, so that a leap day is the last of its year.
        let shifted = days + EPOCH;
        let (era, day_of_era) = (shifted / ERA, shifted % ERA);
        let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let march_month = (5 * day_of_year + 2) / 153;
        let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
        Self {
            year: era * 400 + year_of_era + u64::from(month <= 2),
            month,
            day: day_of_year - (153 * march_month + 2) / 5 + 1,
            hour: seconds / 3600,
            minute: seconds / 60 % 60,
            second: seconds % 60,
            // 1970-01-01 was a Thursday.
            weekday: (days + 4) % 7,
        }
    }
}

/// Reads a date and a time of day as seconds since 1970; none before 1970 or if they are no date and time.
pub(super) fn parse(date: &str, time: &str) -> Option<u64> {
    let numbers = |text: &str, separator: char| -> Option<[u64; 3]> {
        let parts: Option<Vec<u64>> = text.split(separator).map(|part| part.parse().ok()).collect();
        parts?.try_into().ok()
    };
    let [year, month, day] = numbers(date, '/')?;
    let [hour, minute, second] = numbers(time, ':')?;
    let plausible = (1970..=9999).contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day);
    if !plausible || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let march_year = year - u64::from(month <= 2);
    let (era, year_of_era) = (march_year / 400, march_year % 400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    let days = (era * ERA + day_of_era).checked_sub(EPOCH)?;
    Some(days * DAY + hour * 3600 + minute * 60 + second)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_known_lease_time_is_read_and_split() {
        // From facts/fusion-networking.md §3.3: a Wednesday.
        assert_eq!(parse("2024/09/25", "00:44:14"), Some(1_727_225_054));
        assert_eq!(Moment::of(1_727_225_054).weekday, 3);
        assert_eq!(parse("1970/01/01", "00:00:00"), Some(0));
        assert_eq!(parse("2024/02/29", "00:00:00"), Some(1_709_164_800));
        for (date, time) in
            [("2024/13/01", "00:00:00"), ("2024/01", "0:0:0"), ("x/1/1", "0:0:0"), ("2024/1/1", "25:0:0")]
        {
            assert_eq!(parse(date, time), None, "{date} {time}");
        }
    }

    proptest! {
        #[test]
        fn splitting_and_reading_are_inverse(unix in 0_u64..200_000_000_000) {
            let Moment { year, month, day, hour, minute, second, .. } = Moment::of(unix);
            prop_assert_eq!(parse(&format!("{year}/{month}/{day}"), &format!("{hour}:{minute}:{second}")), Some(unix));
        }
    }
}
