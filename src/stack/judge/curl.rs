//! How each of several URLs ended, as `stack::checks::ask` lets curl print it: exit status, HTTP status, URL.

use super::text::short;
use super::{Finding, Said};
use crate::stack::checks::Expect;

/// curl's exit statuses of a place that was not reached: refused or without a way, and too late.
const NOT_REACHED: [i32; 2] = [7, 28];

/// One URL's end.
struct Ended<'a> {
    exit: i32,
    status: u16,
    url: &'a str,
}

impl Ended<'_> {
    fn reached(&self) -> bool {
        !NOT_REACHED.contains(&self.exit)
    }

    fn words(&self) -> String {
        match self.status {
            0 if self.reached() => format!("{} is reached", self.url),
            0 => format!("{} is not reached", self.url),
            status => format!("{} answers {status}", self.url),
        }
    }
}

/// Judges what is about several URLs; none for any other expectation.
pub fn judge(expect: &Expect, said: &Said) -> Option<Finding> {
    if !matches!(expect, Expect::Statuses(_) | Expect::Reached(_) | Expect::NoneReached) {
        return None;
    }
    let all = match read(said) {
        Ok(all) => all,
        Err(why) => return Some(Err(why)),
    };
    Some(match expect {
        Expect::Reached(wanted) => order(wanted, &all),
        Expect::NoneReached => {
            let open: Vec<String> = all.iter().filter(|one| one.reached()).map(Ended::words).collect();
            if open.is_empty() { Ok(format!("none of {}", all.len())) } else { Err(open.join(", ")) }
        }
        Expect::Statuses(wanted) => {
            let good = |one: &&Ended<'_>| wanted.map_or(one.status > 0, |wanted| one.status == wanted);
            let bad: Vec<String> = all.iter().filter(|one| !good(one)).map(Ended::words).collect();
            if bad.is_empty() { Ok(format!("{} of {}", all.len(), all.len())) } else { Err(bad.join(", ")) }
        }
        _ => return None,
    })
}

fn order(wanted: &[bool], all: &[Ended<'_>]) -> Finding {
    if wanted.len() != all.len() {
        return Err(format!("{} URLs answered for instead of {}", all.len(), wanted.len()));
    }
    let wrong = |(wanted, one): (&bool, &Ended<'_>)| (*wanted != one.reached()).then(|| one.words());
    let wrong: Vec<String> = wanted.iter().zip(all).filter_map(wrong).collect();
    if wrong.is_empty() {
        let reached = all.iter().filter(|one| one.reached()).count();
        Ok(format!("{reached} reached, {} not", all.len() - reached))
    } else {
        Err(wrong.join(", "))
    }
}

/// A curl that could not do what it was told prints no line at all.
fn read(said: &Said) -> Result<Vec<Ended<'_>>, String> {
    let line = |line| -> Option<Ended<'_>> {
        let mut words = str::splitn(line, 3, ' ');
        let (exit, status) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        Some(Ended { exit, status, url: words.next()? })
    };
    let all: Option<Vec<_>> = said.stdout.lines().filter(|text| !text.is_empty()).map(line).collect();
    match all {
        Some(all) if !all.is_empty() => Ok(all),
        _ => {
            let words = if said.stderr.trim().is_empty() { &said.stdout } else { &said.stderr };
            Err(format!("curl's exit status {}: {}", said.status.unwrap_or_default(), short(words)))
        }
    }
}
