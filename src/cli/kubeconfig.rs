//! `fusionlab kubeconfig`: the way into the cluster.

use clap::Args;
use serde_json::json;

use super::calls;
use super::context::{Context, Warnings};
use super::error::{Failure, Kind, Report, Success};

/// The JSON form's schema; the number rises when a field changes its meaning or goes away.
const SCHEMA: &str = "fusionlab.kubeconfig/1";

/// Print the path of the lab's kubeconfig
///
/// The file holds an administrator's key and stays in the lab's folder; ~/.kube/config is never touched.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  export KUBECONFIG=$(fusionlab kubeconfig)
  fusionlab kubeconfig --content > lab.kubeconfig")]
pub struct KubeconfigArgs {
    /// Print the content instead
    #[arg(long)]
    content: bool,
}

pub fn run(args: KubeconfigArgs, context: &Context) -> Result<Success, Failure> {
    let lab = context.lab(None, Warnings::Untold)?;
    let path = context.home.lab(&lab.name).kubeconfig();
    let Some(content) = calls::read_text(&path)? else {
        return Err(Report::new(
            "kubeconfig-missing",
            Kind::Kubernetes,
            format!("{} has no kubeconfig yet", lab.name),
        )
        .at(path.display().to_string())
        .because("`up` writes it once the API server answers")
        .run("fusionlab up")
        .into());
    };
    if context.json() {
        let content = args.content.then_some(content);
        context.print_json(&json!({ "schema": SCHEMA, "path": path, "content": content }))?;
    } else if args.content {
        context.print([content.trim_end()])?;
    } else {
        context.print([path.display().to_string()])?;
    }
    Ok(Success::Done)
}
