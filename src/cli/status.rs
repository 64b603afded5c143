//! `fusionlab status`: what stands.

use std::time::Duration;

use clap::Args;

use super::calls::Session;
use super::context::{Context, Warnings};
use super::duration;
use super::error::{Failure, Success};
use super::screen::status::Status;
use super::terminal::Pen;
use super::watch::{self, View};
use crate::host::fusion::Fusion;
use crate::lab::Lab;

/// Show what stands: machines, VIP, cluster
///
/// Everything is looked at anew: Fusion, the guests, the API server. Nothing is changed. A machine that does not answer within
/// `limits.status_answer` is shown as one.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  fusionlab status
  fusionlab status --watch
  fusionlab status --watch 30s --output json")]
pub struct StatusArgs {
    /// Look again and again, until q or Ctrl-C; so long lies between, such as 30s or 5m, or as limits.status_watch says
    #[arg(long, value_name = "DURATION", num_args = 0..=1, value_parser = duration::interval)]
    watch: Option<Option<Duration>>,
}

/// A status with what its lines need.
struct Seen<'a> {
    status: Status,
    lab: &'a Lab,
    fusion: &'a Fusion,
}

impl View for Seen<'_> {
    fn lines(&self, pen: &Pen) -> Vec<String> {
        self.status.lines(self.lab, self.fusion, pen)
    }

    fn within(&self, rows: usize, pen: &Pen) -> Vec<String> {
        self.status.within(rows, self.lab, self.fusion, pen)
    }

    fn json(&self) -> serde_json::Value {
        serde_json::to_value(&self.status).expect("a status has string keys")
    }
}

pub async fn run(args: StatusArgs, context: &Context) -> Result<Success, Failure> {
    let mut lab = context.lab(None, Warnings::Untold)?;
    // Whoever looks does not wait as long as whoever builds.
    let most = lab.limits.status_answer;
    for limit in [&mut lab.limits.guest_command, &mut lab.limits.guest_connect] {
        *limit = most.min(*limit);
    }
    let every = lab.limits.status_watch;
    let session = Session::open(context, lab, "status").await?;
    if let Some(said) = args.watch {
        let every = said.unwrap_or(every);
        return watch::watch(context, every, async || seen(&session, context).await).await;
    }
    let seen = seen(&session, context).await?;
    if context.json() {
        context.print_json(&seen.json())?;
    } else {
        context.print(seen.lines(&context.terminal.out))?;
    }
    Ok(Success::Done)
}

async fn seen<'a>(session: &'a Session, context: &Context) -> Result<Seen<'a>, Failure> {
    let (lab, fusion) = (&session.lab, &session.fusion);
    let look = session.look().await?;
    let status = Status::of(lab, &look, fusion).with(session.before()?);
    Ok(Seen { status: status.with_options(context.options.again()), lab, fusion })
}
