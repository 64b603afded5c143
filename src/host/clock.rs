//! Time: what it is, how it is written, and the one place that lets it pass.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::stand_in;

/// A point in time that only moves forward. Its clock is the one that waits are measured by, so that a test which
/// lets hours pass in a moment measures hours.
pub use tokio::time::Instant;

const SECONDS_PER_DAY: i64 = 86_400;

/// Returns milliseconds since 1970.
#[expect(clippy::disallowed_methods, reason = "this is where the program looks at the clock")]
pub fn now_ms() -> u64 {
    if let Some(computer) = stand_in::current() {
        return computer.now_ms();
    }
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Returns seconds since 1970.
pub fn now() -> u64 {
    now_ms() / 1000
}

/// Returns milliseconds since 1970 as the system's calls take a time.
pub fn system_time(milliseconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(milliseconds)
}

/// Returns a time that the system's calls gave in milliseconds since 1970; 0 for one before.
pub fn milliseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Returns a point in time that only moves forward, for measuring.
pub fn monotonic() -> Instant {
    Instant::now()
}

/// Lets time pass between two probes. Everything that waits names a requirement (`engine::wait`) and
/// comes here; nothing else sleeps.
#[expect(clippy::disallowed_methods, reason = "the one sleep, between two probes of a named requirement")]
pub async fn pause(duration: Duration) {
    tokio::time::sleep(duration).await;
}

/// Like [`pause`], for the threads that speak blocking protocols.
#[expect(clippy::disallowed_methods, reason = "the one blocking sleep, between two probes")]
pub fn pause_blocking(duration: Duration) {
    std::thread::sleep(duration);
}

/// Writes seconds since 1970 as RFC 3339 in UTC: `2026-11-23T14:23:55Z`.
pub fn rfc3339(seconds: u64) -> String {
    let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
    let (days, rest) = (seconds.div_euclid(SECONDS_PER_DAY), seconds.rem_euclid(SECONDS_PER_DAY));
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// Writes seconds since 1970 as the local time of day: `14:23:55`.
pub fn time_of_day(seconds: u64) -> String {
    let (hour, minute, second) = local(seconds).unwrap_or_else(|| {
        let rest = seconds % SECONDS_PER_DAY.unsigned_abs();
        (rest / 3600, rest / 60 % 60, rest % 60)
    });
    format!("{hour:02}:{minute:02}:{second:02}")
}

/// Writes seconds since 1970 as the local time of day, or as RFC 3339 if that is a day or more away.
pub fn moment(seconds: u64) -> String {
    let is_near = now().abs_diff(seconds) < SECONDS_PER_DAY.unsigned_abs();
    if is_near { time_of_day(seconds) } else { rfc3339(seconds) }
}

fn local(seconds: u64) -> Option<(u64, u64, u64)> {
    let time = libc::time_t::try_from(seconds).ok()?;
    // SAFETY: a tm of zeros is valid (its pointer may be null); localtime_r reads the time, writes only
    // the tm, and both outlive the call.
    let broken_down = unsafe {
        let mut broken_down: libc::tm = std::mem::zeroed();
        if libc::localtime_r(&raw const time, &raw mut broken_down).is_null() {
            return None;
        }
        broken_down
    };
    let part = |value: libc::c_int| u64::try_from(value).ok();
    Some((part(broken_down.tm_hour)?, part(broken_down.tm_min)?, part(broken_down.tm_sec)?))
}

/// Returns year, month and day of a number of days since 1970 in the Gregorian calendar.
///
/// Counts in years that begin in March, so that the leap day is a year's last.
fn civil(days: i64) -> (i64, i64, i64) {
    const DAYS_PER_ERA: i64 = 146_097;
    const MARCH_YEAR_0: i64 = 719_468;
    let days = days + MARCH_YEAR_0;
    let (era, day_of_era) = (days.div_euclid(DAYS_PER_ERA), days.rem_euclid(DAYS_PER_ERA));
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / (DAYS_PER_ERA - 1)) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_709_164_800, "2024-02-29T00:00:00Z"),
            (1_709_251_200, "2024-03-01T00:00:00Z"),
            (1_795_443_835, "2026-11-23T14:23:55Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(rfc3339(seconds), text);
        }
    }

    #[test]
    fn the_local_time_of_day_differs_from_utc_by_whole_minutes() {
        assert!(time_of_day(1_795_443_835).ends_with(":55"));
    }
}
