//! The questions, one after the other: each with what was found as the usual answer, each answer judged at once.
//!
//! ```text
//! head ─▶ what was given by an option, or typed ─▶ who is at that address? ─▶ check ─┬─▶ next question
//!                                    ▲                                              │
//!                                    ╰───────────────── the reason ◀────────────────╯
//! ```
//!
//! Nothing is written here, so that leaving at any question leaves nothing behind.

use std::io;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use super::answers::{Answers, Given, KeyAnswer, LanAnswer, Question, Seen};
use super::check::{self, Refused};
use super::{Target, calls, defaults, told};
use crate::cli::context::Context;
use crate::cli::error::{Failure, Kind};
use crate::cli::screen::{init as screen, prompt};
use crate::host::surroundings::LanInterface;
use crate::lab::limits::ADDRESS_PROBE;
use crate::lab::presets::Preset;

/// The item that leads to a subnet of the user's own.
const ANOTHER: &str = "another subnet";

/// Returns what ends a wizard that somebody left: one line, and nothing was done.
pub fn left(context: &Context) -> Failure {
    context.say(["nothing was written"]);
    Failure::Told(Kind::Interrupted)
}

/// Asks everything that options do not say.
pub async fn ask(
    context: &Context,
    given: &Given,
    seen: &mut Seen,
    target: &Target,
) -> Result<Answers, Failure> {
    let mut wizard = Wizard { context, given, seen };
    let preset = wizard.size().await?;
    let lan = wizard.lan().await?;
    context.say(screen::other_lan(&lan, &context.terminal.err));
    context.say(screen::wifi(&lan, &context.terminal.err));
    if lan.in_reach().is_some() {
        wizard.look_for(&defaults::candidates(&lan)).await?;
    }
    let vip = wizard.vip(&lan).await?;
    let gateways = wizard.gateways(preset, &lan, vip).await?;
    let internal = wizard.internal(&lan).await?;
    let keys = wizard.keys().await?;
    let domain = wizard
        .text(
            Question::Domain,
            "Domain",
            defaults::domain(&told::called(given, wizard.seen)),
            given.domain.clone(),
            None,
            |text, _| check::domain(text),
        )
        .await?;
    let name = defaults::name(wizard.seen);
    let name = wizard
        .text(Question::Name, "Name", name, given.name.clone(), None, |text, seen| {
            let name = check::name(text, seen)?;
            target.refuses(&name, seen).map_or(Ok(name), Err)
        })
        .await?;
    Ok(Answers { preset, lan, vip, gateways, internal, keys, domain, name })
}

struct Wizard<'a> {
    context: &'a Context,
    given: &'a Given,
    seen: &'a mut Seen,
}

impl Wizard<'_> {
    async fn size(&mut self) -> Result<Preset, Failure> {
        if let Some(preset) = self.given.preset {
            return Ok(preset);
        }
        self.head(Question::Size);
        let proposed = defaults::size(self.seen);
        let usual = self.seen.sizes.iter().position(|(preset, _)| *preset == proposed).unwrap_or_default();
        let item =
            |(preset, takes): &(Preset, _)| screen::size(*preset, takes, defaults::fits(takes, self.seen));
        let items: Vec<String> = self.seen.sizes.iter().map(item).collect();
        let chosen = self.choice("Size", items, usual).await?;
        let preset = self.seen.sizes[chosen].0;
        self.taken(&format!("{preset}: {}", screen::machines(preset)));
        Ok(preset)
    }

    async fn lan(&mut self) -> Result<LanAnswer, Failure> {
        let ways: Vec<LanInterface> = check::ways_in(self.seen).cloned().collect();
        let mut given = self.given.clone();
        let is_given = given.answers(Question::Lan);
        if is_given {
            match check::lan(&given, self.seen) {
                Ok(lan) => return Ok(lan),
                Err(refused) => self.refuse(refused),
            }
        }
        self.head(Question::Lan);
        let mut items: Vec<String> = ways.iter().map(screen::way).collect();
        items.push(ANOTHER.to_owned());
        loop {
            let chosen =
                if ways.is_empty() { 0 } else { self.choice("Home network", items.clone(), 0).await? };
            let way = ways.get(chosen).map(screen::way);
            given = match ways.get(chosen) {
                Some(way) if chosen == 0 => Given { lan: Some(way.subnet.to_string()), ..Given::default() },
                Some(way) => Given { interface: Some(way.interface.clone()), ..Given::default() },
                None => self.subnet().await?,
            };
            match check::lan(&given, self.seen) {
                Ok(lan) => {
                    self.taken(&way.unwrap_or_else(|| format!("{}, router {}", lan.subnet, lan.router)));
                    return Ok(lan);
                }
                Err(refused) => self.refuse(refused),
            }
        }
    }

    /// Asks for a subnet that was not found here.
    async fn subnet(&mut self) -> Result<Given, Failure> {
        let prompt =
            "Subnet, such as 192.168.1.0/24, with its router behind it if that is not the first address";
        let typed = self.line(prompt, String::new()).await?;
        let mut parts = typed.split([' ', ',']).filter(|part| !part.is_empty()).map(str::to_owned);
        let lan = Some(parts.next().unwrap_or_default());
        Ok(Given { lan, router: parts.next(), ..Given::default() })
    }

    fn refuse(&self, refused: Vec<(&'static str, Refused)>) {
        let pen = &self.context.terminal.err;
        self.context.say(refused.iter().flat_map(|(_, reason)| screen::refused(reason, pen)));
    }

    async fn vip(&mut self, lan: &LanAnswer) -> Result<Ipv4Addr, Failure> {
        let usual = defaults::vip(lan, self.seen).map(|vip| vip.to_string()).unwrap_or_default();
        let given = self.given.vip.clone();
        self.text(Question::Vip, "Address", usual, given, lan.in_reach(), |text, seen| {
            check::vip(text, lan, seen)
        })
        .await
    }

    async fn gateways(
        &mut self,
        preset: Preset,
        lan: &LanAnswer,
        vip: Ipv4Addr,
    ) -> Result<Vec<Ipv4Addr>, Failure> {
        let found = defaults::gateways(preset, lan, Some(vip), self.seen);
        let usual = found.map(|found| told::list(&found)).unwrap_or_default();
        let prompt = if preset.counts().0 == 1 { "Address" } else { "Addresses" };
        let given = self.given.gateways.clone();
        self.text(Question::Gateways, prompt, usual, given, lan.in_reach(), |text, seen| {
            check::gateways(text, (preset, lan, Some(vip)), seen)
        })
        .await
    }

    async fn internal(&mut self, lan: &LanAnswer) -> Result<(u8, Ipv4Net), Failure> {
        let proposed = defaults::internal(lan, self.seen);
        let usual = proposed.map(|(number, subnet)| format!("vmnet{number} {subnet}")).unwrap_or_default();
        let given = self.given.internal_words();
        self.text(Question::Internal, "Network", usual, given, None, |text, seen| {
            check::internal(text, proposed, lan, seen)
        })
        .await
    }

    async fn keys(&mut self) -> Result<Vec<KeyAnswer>, Failure> {
        let home = self.context.user_home().ok();
        let usual = defaults::keys(self.seen, |path| self.context.shown(path));
        let given = self.given.keys.clone();
        self.text(Question::Keys, "File", usual, given, None, |text, _| {
            calls::read_keys(text, home.as_deref())
        })
        .await
    }

    /// Asks until an answer is one; what an option said is judged first. Addresses of `lan` in it are looked for there.
    async fn text<T>(
        &mut self,
        question: Question,
        prompt: &str,
        usual: String,
        mut given: Option<String>,
        lan: Option<Ipv4Net>,
        judge: impl Fn(&str, &Seen) -> Result<T, Refused>,
    ) -> Result<T, Failure> {
        if given.is_none() {
            self.head(question);
        }
        loop {
            let (text, typed) = match given.take() {
                Some(text) => (text, false),
                None => (self.line(prompt, usual.clone()).await?, true),
            };
            if let Some(lan) = lan {
                self.look_for(&check::addresses_in(&text, lan)).await?;
            }
            match judge(&text, self.seen) {
                Ok(answer) => {
                    if typed {
                        self.taken(&text);
                    }
                    return Ok(answer);
                }
                Err(reason) => self.context.say(screen::refused(&reason, &self.context.terminal.err)),
            }
        }
    }

    /// Looks for somebody at addresses that were not asked yet, and says for how long.
    async fn look_for(&mut self, addresses: &[Ipv4Addr]) -> Result<(), Failure> {
        let new = addresses.iter().filter(|address| !self.seen.asked.contains_key(address)).count();
        if new > 0 && !self.seen.deaf {
            self.context.say(screen::looking(new, ADDRESS_PROBE, &self.context.terminal.err));
        }
        tokio::select! {
            () = calls::ask_around(self.seen, addresses) => Ok(()),
            () = self.context.cancel.cancelled() => Err(left(self.context)),
        }
    }

    fn head(&self, question: Question) {
        self.context.say(screen::head(question, self.seen, &self.context.terminal.err));
    }

    async fn choice(&self, prompt: &str, items: Vec<String>, usual: usize) -> Result<usize, Failure> {
        let (prompt, terminal) = (prompt.to_owned(), self.context.terminal);
        self.answered(move || prompt::choice(&prompt, &items, usual, &terminal)).await
    }

    fn taken(&self, answer: &str) {
        self.context.say(screen::taken(answer, &self.context.terminal.err));
    }

    async fn line(&self, prompt: &str, usual: String) -> Result<String, Failure> {
        let (prompt, terminal) = (prompt.to_owned(), self.context.terminal);
        self.answered(move || prompt::line(&prompt, &usual, &terminal)).await
    }

    async fn answered<T: Send + 'static>(
        &self,
        question: impl FnOnce() -> io::Result<Option<T>> + Send + 'static,
    ) -> Result<T, Failure> {
        self.context.answered(question).await?.flatten().ok_or_else(|| left(self.context))
    }
}
