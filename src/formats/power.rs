//! When a Mac goes to sleep by itself, as `pmset -g custom` of macOS prints it.

use serde::Serialize;

/// What ends the name of a power source's section.
const SECTION_END: &str = "Power:";

/// What holds while a Mac runs on one source of power.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PowerSource {
    /// Such as `AC Power` or `Battery Power`.
    pub name: String,
    /// Minutes without work until the Mac sleeps; 0 for never. None if it does not say.
    pub sleep_minutes: Option<u32>,
}

impl PowerSource {
    /// Says whether this is the one from the wall.
    pub fn is_mains(&self) -> bool {
        self.name.starts_with("AC ")
    }
}

/// Reads what `pmset -g custom` prints: a section for each source of power, and in it a row for each setting. A name may have
/// blanks (`Sleep On Power Button 1`), and a value may be followed by what holds it up (`sleep 1 (sleep prevented by …)`).
/// Rows outside a section are passed over.
pub fn parse(text: &str) -> Vec<PowerSource> {
    let mut sources: Vec<PowerSource> = Vec::new();
    for line in text.lines() {
        let line = line.trim();
        if line.ends_with(SECTION_END) {
            sources.push(PowerSource { name: line.trim_end_matches(':').to_owned(), sleep_minutes: None });
            continue;
        }
        let Some(source) = sources.last_mut() else { continue };
        let mut words = line.split_whitespace();
        if words.next() == Some("sleep")
            && let Some(minutes) = words.next().and_then(|minutes| minutes.parse().ok())
        {
            source.sleep_minutes = Some(minutes);
        }
    }
    sources
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rows are those of Macs on macOS 14 and 15; names and order differ between models.
    const LAPTOP: &str = "\
Battery Power:
 Sleep On Power Button 1
 lowpowermode         1
 standby              1
 ttyskeepawake        1
 hibernatemode        3
 powernap             1
 hibernatefile        /var/vm/sleepimage
 displaysleep         15
 womp                 0
 networkoversleep     0
 sleep                1
 lessbright           1
 tcpkeepalive         1
 disksleep            10
AC Power:
 Sleep On Power Button 1
 displaysleep         10
 womp                 1
 sleep                0 (sleep prevented by powerd, caffeinate)
 disksleep            10
";

    fn source(name: &str, sleep_minutes: Option<u32>) -> PowerSource {
        PowerSource { name: name.to_owned(), sleep_minutes }
    }

    #[test]
    fn each_source_of_power_has_its_own_time() {
        let found = parse(LAPTOP);
        assert_eq!(found, [source("Battery Power", Some(1)), source("AC Power", Some(0))]);
        assert_eq!(found.iter().map(PowerSource::is_mains).collect::<Vec<_>>(), [false, true]);
    }

    #[test]
    fn what_does_not_say_how_long_is_not_guessed() {
        assert_eq!(parse(""), []);
        assert_eq!(parse(" sleep 1\n"), [], "nobody knows on which power");
        assert_eq!(parse("AC Power:\n displaysleep 10\n"), [source("AC Power", None)]);
        for value in ["-1", "soon", "", "4294967296", "1.5"] {
            assert_eq!(parse(&format!("AC Power:\n sleep {value}\n")), [source("AC Power", None)], "{value}");
        }
        assert_eq!(parse("AC Power:\r\n sleep\t5\r\n"), [source("AC Power", Some(5))]);
    }
}
