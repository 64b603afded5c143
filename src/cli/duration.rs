//! A span of time as people write it, one grammar for every option.

use std::time::Duration;

const UNITS: [(&str, u64); 5] = [("s", 1), ("min", 60), ("m", 60), ("h", 3600), ("d", 24 * 3600)];

/// Reads `30` or `30s`, `10m` or `10min`, `2h`, `30d`: a bare number is of seconds. None lasts no time at all.
pub fn parse(text: &str) -> Result<Duration, String> {
    let of_unit = |(unit, seconds): &(&str, u64)| {
        let number = text.strip_suffix(unit)?;
        number.ends_with(|last: char| last.is_ascii_digit()).then_some((number, *seconds))
    };
    let (number, seconds) = UNITS.iter().find_map(of_unit).unwrap_or((text, 1));
    // The library also takes a sign.
    let is_plain = number.bytes().all(|byte| byte.is_ascii_digit());
    let number = number.parse::<u32>().ok().filter(|number| is_plain && *number > 0);
    let number = number
        .ok_or("a duration is a whole number with its unit: 30s, 10m, 2h, 7d; without one, of seconds")?;
    Ok(Duration::from_secs(u64::from(number) * seconds))
}

/// As [`parse`], for what is done again and again: no longer than a day lies between.
pub fn interval(text: &str) -> Result<Duration, String> {
    const MOST: Duration = Duration::from_secs(24 * 3600);
    parse(text).and_then(|it| if it > MOST { Err("it is a day at most".to_owned()) } else { Ok(it) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_people_write_them() {
        let seconds = |text| parse(text).map(|duration| duration.as_secs());
        let read = ["45", "30s", "10m", "10min", "2h", "30d"].map(seconds);
        assert_eq!(read, [45, 30, 600, 600, 7200, 30 * 86_400].map(Ok));
        assert_eq!(seconds("4294967295d"), Ok(4_294_967_295 * 86_400), "the longest has room");
    }

    #[test]
    fn what_is_none_is_refused_with_how_one_is_written() {
        for wrong in [
            "",
            "0",
            "0s",
            "m",
            "min",
            "d",
            "-1",
            "+5",
            "+5m",
            "1.5m",
            "10 m",
            " 5",
            "5M",
            "5mm",
            "5smin",
            "5 ",
            "٣m",
            "5µs",
            "1h30m",
            "99999999999h",
            "\u{0}",
        ] {
            assert!(parse(wrong).is_err_and(|why| why.contains("30s, 10m, 2h, 7d")), "{wrong:?}");
        }
    }

    #[test]
    fn what_is_done_again_and_again_is_done_once_a_day_at_least() {
        assert_eq!(interval("30"), Ok(Duration::from_secs(30)));
        assert_eq!(interval("5m"), Ok(Duration::from_secs(300)));
        assert!(interval("2d").is_err_and(|why| why.contains("a day at most")) && interval("0").is_err());
    }
}
