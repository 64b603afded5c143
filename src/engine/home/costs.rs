//! How long each kind of step took on this Mac in labs that are gone, for the first `up` of the next one. It names no lab and no
//! machine.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::host::files;
use crate::plan::kind::Kind;

use super::records::{self, Versioned};
use crate::engine::context::Engine;
use crate::engine::error::Result;
use crate::engine::schedule::order::means_by_kind;

/// What is kept. A simulation's is kept apart: it takes as long as it is told to.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Costs {
    version: u32,
    /// Mean seconds by the kind's name.
    seconds: BTreeMap<String, f64>,
}

impl Versioned for Costs {
    const VERSION: u32 = 1;
    const WHAT: &'static str = "a record of what steps take";
}

/// Returns the mean seconds of each kind; of a record that cannot be read, none.
pub fn of_this_mac(engine: &Engine) -> BTreeMap<Kind, f64> {
    let kept: Option<Costs> = records::read(&engine.home.costs(engine.fusion.simulated)).unwrap_or_default();
    let seconds = kept.unwrap_or_default().seconds;
    seconds.into_iter().filter_map(|(kind, seconds)| Some((Kind::of_id(&kind)?, seconds))).collect()
}

/// Keeps what the lab's steps took when they were last done, in place of what was known of their kinds.
pub fn keep(engine: &Engine) -> Result<()> {
    let took = means_by_kind(&engine.journal.costs());
    if took.is_empty() {
        return Ok(());
    }
    let mut all = of_this_mac(engine);
    all.extend(took);
    let to_the_millisecond = |seconds: f64| (seconds * 1000.0).round() / 1000.0;
    let seconds = all
        .into_iter()
        .map(|(kind, seconds)| (kind.name().to_owned(), to_the_millisecond(seconds)))
        .collect();
    let path = engine.home.costs(engine.fusion.simulated);
    files::create_dir(files::parent(&path))?;
    records::write(&path, &Costs { version: Costs::VERSION, seconds }, files::PRIVATE_FILE)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::engine::fixture::{Bench, Machines};
    use crate::engine::journal::State;
    use crate::plan::step::StepId;

    fn did(bench: &Bench, step: &str, seconds: u64) {
        let took = Some(Duration::from_secs(seconds));
        bench.engine.journal.begin().unwrap();
        bench.engine.journal.write(&StepId::read(step), State::Done, took, None).unwrap();
    }

    #[test]
    fn a_lab_that_goes_leaves_what_its_kinds_of_steps_took_and_no_name() {
        let bench = Bench::new(Machines::default());
        keep(&bench.engine).unwrap();
        let path = bench.engine.home.costs(bench.engine.fusion.simulated);
        assert!(!files::exists(&path), "nothing was done");
        for (step, seconds) in
            [("vm.start/k8s-master1", 4), ("vm.start/k8s-worker1", 8), ("kube.init/k8s-master1", 60)]
        {
            did(&bench, step, seconds);
        }
        keep(&bench.engine).unwrap();
        let kept = of_this_mac(&bench.engine);
        assert_eq!(kept, BTreeMap::from([(Kind::VmStart, 6.0), (Kind::KubeInit, 60.0)]));
        let text = files::read_text(&path).unwrap();
        assert!(!text.contains("k8s-") && !text.contains(&bench.engine.lab.name), "{text}");
        did(&bench, "kube.init/k8s-master1", 30);
        keep(&bench.engine).unwrap();
        assert_eq!(of_this_mac(&bench.engine)[&Kind::KubeInit], 30.0, "the newest counts");
        bench.file(&path, "{");
        assert!(of_this_mac(&bench.engine).is_empty(), "it is a convenience");
        keep(&bench.engine).unwrap();
        assert_eq!(of_this_mac(&bench.engine).len(), 2);
    }
}
