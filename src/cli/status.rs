//! `fusionlab status`: what stands.

use clap::Args;

use super::calls::Session;
use super::context::{Context, Warnings};
use super::error::{Failure, Success};
use super::screen::status::Status;

/// Show what stands: machines, VIP, cluster
///
/// Everything is looked at anew: Fusion, the guests, the API server. Nothing is changed.
#[derive(Args, Debug)]
pub struct StatusArgs {}

pub async fn run(_args: StatusArgs, context: &Context) -> Result<Success, Failure> {
    let lab = context.lab(None, Warnings::Untold)?;
    let session = Session::open(context, lab, "status").await?;
    let (lab, fusion) = (&session.lab, &session.fusion);
    let facts = session.facts().await?;
    let status = Status::new(lab, &facts, fusion).with(session.before()?);
    if context.json() {
        let value = serde_json::to_value(&status).expect("a status has string keys");
        context.print_json(&value)?;
    } else {
        context.print(status.lines(lab, fusion, &context.terminal.out))?;
    }
    Ok(Success::Done)
}
