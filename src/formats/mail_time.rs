//! Times as mail and cloud-init write them (RFC 5322 §3.3): `Fri, 27 Nov 2026 18:32:08 +0000`.

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
/// From the first day of the year 0 to that of 1970, counted from March.
const DAYS_BEFORE_1970: u64 = 719_468;

/// Reads such a time; returns seconds since 1970.
pub fn parse(text: &str) -> Option<u64> {
    let rest = text.split_once(", ").map_or(text, |(_weekday, rest)| rest);
    let words: Vec<&str> = rest.split_whitespace().collect();
    let [day, month, year, time, zone] = words[..] else { return None };
    let month = MONTHS.iter().position(|name| *name == month)? as u64 + 1;
    let clock: Vec<u64> = time.split(':').map(|part| part.parse().ok()).collect::<Option<_>>()?;
    let [hour, minute, second] = clock[..] else { return None };
    let (day, year) = (day.parse().ok()?, year.parse().ok()?);
    if !(1970..10_000).contains(&year) || !(1..=31).contains(&day) || hour > 23 || minute > 59 || second > 60
    {
        return None;
    }
    let there = days_to(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second;
    let (sign, digits) = zone.split_at_checked(1)?;
    let offset: u64 = digits.parse().ok().filter(|_| digits.len() == 4)?;
    let offset = offset / 100 * 3600 + offset % 100 * 60;
    match sign {
        "+" => there.checked_sub(offset),
        "-" => Some(there + offset),
        _ => None,
    }
}

/// Writes a time in UTC.
pub fn write(seconds: u64) -> String {
    const WEEKDAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let weekday = WEEKDAYS[usize::try_from(days % 7).unwrap_or_default()];
    let mut year = 1970 + days / 366;
    while days_to(year + 1, 1, 1) <= days {
        year += 1;
    }
    let mut month = 12;
    while days_to(year, month, 1) > days {
        month -= 1;
    }
    let day = days - days_to(year, month, 1) + 1;
    let name = MONTHS[usize::try_from(month - 1).unwrap_or_default()];
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{weekday}, {day:02} {name} {year} {hour:02}:{minute:02}:{second:02} +0000")
}

/// Counts the days from 1970 to a date (Howard Hinnant's `days_from_civil`, for years after 1970).
fn days_to(year: u64, month: u64, day: u64) -> u64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year / 400, year % 400);
    let shifted = if month > 2 { month - 3 } else { month + 9 };
    let of_year = (153 * shifted + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - DAYS_BEFORE_1970
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        assert_eq!(write(1_795_804_328), "Fri, 27 Nov 2026 18:32:08 +0000");
        for seconds in (0..4_000_000_000).step_by(7_777_777) {
            assert_eq!(parse(&write(seconds)), Some(seconds), "{}", write(seconds));
        }
    }

    #[test]
    fn times_are_read_with_their_zone_and_anything_else_is_none() {
        let cases = [
            ("Thu, 01 Jan 1970 00:00:00 +0000", Some(0)),
            ("Fri, 27 Nov 2026 18:32:08 +0000", Some(1_795_804_328)),
            ("27 Nov 2026 19:32:08 +0100", Some(1_795_804_328)),
            ("Thu, 29 Feb 2024 00:00:00 -0030", Some(1_709_166_600)),
            ("Fri, 27 Nov 2026 18:32 +0000", None),
            ("Fri, 27 Smarch 2026 18:32:08 +0000", None),
            ("Fri, 27 Nov 0 18:32:08 +0000", None),
            ("", None),
        ];
        for (text, seconds) in cases {
            assert_eq!(parse(text), seconds, "{text}");
        }
    }
}
