//! What a machine has of memory and disk, and how busy it is: asked with what every system brings, so that machines need
//! nothing new for it.

use serde::Serialize;

use crate::formats::command::Command;

/// What is there of something, and what of it is taken, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Share {
    pub used: u64,
    pub total: u64,
}

/// What one machine said of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Resources {
    /// Used is what programs could not have now, as the kernel reckons it (`MemAvailable`): caches are not in it.
    pub memory: Share,
    /// The root file system. What is kept back for root counts as used.
    pub disk: Share,
    /// The load average of the last minute: how many processes run or wait for a disk.
    pub load: f64,
}

/// An answer that is not one.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("its answer does not say {0}")]
pub struct BadResources(&'static str);

/// Returns the one command that asks for all of it.
pub fn command() -> Command {
    Command::new(["sh", "-c", "cat /proc/loadavg /proc/meminfo && df -Pk /"])
}

/// Reads what [`command`] printed: proc_loadavg(5), proc_meminfo(5), and df's POSIX form, whose head is in the machine's
/// language and whose first field may hold blanks.
///
/// # Errors
/// If a number is missing or makes no sense, such as more used than there is.
pub fn parse(text: &str) -> Result<Resources, BadResources> {
    let load = text.split_whitespace().next().and_then(|word| word.parse::<f64>().ok());
    let load = load.filter(|load| load.is_finite() && *load >= 0.0).ok_or(BadResources("its load"))?;
    let memory = || {
        let kib = |name: &str| {
            let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
            value.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()
        };
        share(kib("MemTotal")?, kib("MemAvailable")?)
    };
    let disk = || {
        let mut fields = text.lines().last()?.rsplit(' ').filter(|field| !field.is_empty());
        if fields.next()? != "/" || !fields.next()?.ends_with('%') {
            return None;
        }
        let (available, _used, total) = (fields.next()?, fields.next()?, fields.next()?);
        share(total.parse().ok()?, available.parse().ok()?)
    };
    Ok(Resources {
        memory: memory().ok_or(BadResources("its memory"))?,
        disk: disk().ok_or(BadResources("its disk"))?,
        load,
    })
}

/// Makes a share of kibibytes; none if more can be had than there is, or there is nothing.
fn share(total: u64, available: u64) -> Option<Share> {
    let used = total.checked_sub(available).filter(|_| total > 0)?;
    Some(Share { used: used.checked_mul(1024)?, total: total.checked_mul(1024)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of an Ubuntu 24.04, shortened.
    const ANSWER: &str = "0.08 0.03 0.01 1/233 4711
MemTotal:        2014196 kB
MemFree:          123456 kB
MemAvailable:    1514196 kB
Buffers:           33212 kB
Filesystem     1024-blocks    Used Available Capacity Mounted on
/dev/nvme0n1p1    19739120 3117424  16605312      16% /
";

    #[test]
    fn an_answer_becomes_numbers_in_bytes() {
        let found = parse(ANSWER).unwrap();
        assert_eq!(found.memory, Share { used: 500_000 * 1024, total: 2_014_196 * 1024 });
        assert_eq!(found.disk, Share { used: (19_739_120 - 16_605_312) * 1024, total: 19_739_120 * 1024 });
        assert!((found.load - 0.08).abs() < 1e-9);
        let elsewhere =
            ANSWER.replace("Filesystem", "Dateisystem").replace("/dev/nvme0n1p1", "my file system");
        assert_eq!(parse(&elsewhere).unwrap(), found);
    }

    #[test]
    fn what_makes_no_sense_is_no_answer() {
        for (from, to, what) in [
            ("0.08", "-1", "its load"),
            ("0.08", "nan", "its load"),
            ("MemAvailable", "MemSomething", "its memory"),
            ("1514196", "9514196", "its memory"),
            ("2014196", "18446744073709551615", "its memory"),
            ("2014196", "99999999999999999999", "its memory"),
            ("16605312", "96605312", "its disk"),
            ("16%", "16", "its disk"),
            ("% /\n", "% /\nbye\n", "its disk"),
        ] {
            assert_eq!(parse(&ANSWER.replace(from, to)), Err(BadResources(what)), "{from} as {to}");
        }
        assert_eq!(parse(""), Err(BadResources("its load")));
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_parsing_panic(text in "([0-9.]{0,4} )?(MemTotal: [0-9]{0,22} kB\n)?[ -~]{0,60}\n?") {
            let _ = parse(&text);
        }

        #[test]
        fn never_more_is_used_than_there_is(total in 0_u64..1 << 60, available in 0_u64..1 << 60) {
            if let Some(share) = share(total, available) {
                proptest::prop_assert!(share.used <= share.total && share.total > 0);
            }
        }
    }
}
