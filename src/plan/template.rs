//! The list that makes the golden template: download, convert, bake, freeze. `up` begins with it, and `template build`
//! is nothing else.

use crate::lab::Lab;

use super::facts::TemplateFacts;
use super::kind::Kind;
use super::obstacle::Obstacle;
use super::step::{Action, Plan, Step};

/// Plans the template alone; with `anew`, one that is there is removed first.
///
/// # Errors
/// Machines whose disks are layers over this template's, if it is to be made anew; nothing was changed.
pub fn plan(lab: &Lab, facts: &TemplateFacts, anew: bool) -> Result<Plan, Vec<Obstacle>> {
    let mut plan = Plan::default();
    if !anew || !facts.present {
        plan.steps = steps(lab, facts);
        plan.kept.extend(plan.steps.is_empty().then(|| kept(lab, facts)));
        return Ok(plan);
    }
    if !facts.hanging.is_empty() {
        return Err(vec![Obstacle::TemplateInUse { key: facts.key.clone(), vmx: facts.hanging.clone() }]);
    }
    let text = format!("remove the template {}", facts.key);
    plan.steps.push(Step::new(Action::RemoveTemplate, text, "it is to be made anew"));
    let gone = TemplateFacts {
        key: facts.key.clone(),
        image_cached: facts.image_cached,
        ..TemplateFacts::default()
    };
    list(lab, &gone, &mut plan.steps);
    Ok(plan)
}

/// Returns the steps that are missing, in order; none if the template is frozen.
pub fn steps(lab: &Lab, facts: &TemplateFacts) -> Vec<Step> {
    let mut steps = Vec::new();
    if !facts.frozen {
        list(lab, facts, &mut steps);
    }
    steps
}

/// Returns the line that tells of a finished template.
pub fn kept(lab: &Lab, facts: &TemplateFacts) -> String {
    format!("template: {} ({})", lab.image.name, facts.key)
}

fn list(lab: &Lab, facts: &TemplateFacts, steps: &mut Vec<Step>) {
    let versions = &lab.versions;
    let (no_disk, no_bake) = (!facts.disk_written && !facts.baked, !facts.baked);
    if no_disk && !facts.image_cached {
        let text = format!("download {}", lab.image.noun());
        push(steps, [], Step::new(Action::FetchImage, text, "it is not in the cache"));
    }
    if no_disk {
        let text = "write the template's disk from the image";
        let step = Step::new(Action::ConvertImage, text, "the template has no disk");
        push(steps, [Kind::ImageFetch, Kind::TemplateRemove], step);
    }
    if no_bake {
        let text = format!(
            "bake the template: containerd, Kubernetes {}, Cilium {}, nginx, Keepalived",
            versions.kubernetes, versions.cilium
        );
        let step = Step::new(Action::BakeTemplate, text, "no template of this image and these versions");
        push(steps, [Kind::ImageConvert], step);
    }
    let text = "check what was baked, take the snapshot, make the disk read-only";
    let step = Step::new(Action::FreezeTemplate, text, "the template is not frozen");
    push(steps, [Kind::TemplateBake], step);
}

/// Adds a step; of those that it needs, those count that are there.
fn push<const N: usize>(steps: &mut Vec<Step>, needs: [Kind; N], step: Step) {
    let needs = needs.map(Kind::id).into_iter();
    let needs = needs.filter(|need| steps.iter().any(|step| step.id == *need)).collect();
    steps.push(Step { needs, ..step });
}

#[cfg(test)]
mod tests {
    use super::super::lint::lint;
    use super::*;
    use crate::stack::fixture;

    fn ids(plan: &Plan) -> Vec<&str> {
        assert_eq!(lint(plan), Vec::<String>::new());
        plan.steps.iter().map(|step| step.id.as_str()).collect()
    }

    fn finished() -> TemplateFacts {
        TemplateFacts {
            key: "0123".to_owned(),
            present: true,
            image_cached: true,
            disk_written: true,
            baked: true,
            frozen: true,
            hanging: Vec::new(),
        }
    }

    #[test]
    fn what_was_reached_is_not_done_again() {
        let lab = fixture::lab();
        let mut facts = TemplateFacts::default();
        let missing = |facts: &TemplateFacts| {
            let plan = plan(&lab, facts, false).unwrap();
            ids(&plan).into_iter().map(str::to_owned).collect::<Vec<_>>()
        };
        let all = ["image.fetch", "image.convert", "template.bake", "template.freeze"];
        assert_eq!(missing(&facts), all);
        facts.image_cached = true;
        assert_eq!(missing(&facts), all[1..]);
        facts.disk_written = true;
        assert_eq!(missing(&facts), all[2..]);
        facts.baked = true;
        assert_eq!(missing(&facts), all[3..]);
        facts.frozen = true;
        assert_eq!(missing(&facts), [""; 0]);
        assert_eq!(plan(&lab, &finished(), false).unwrap().kept, ["template: ubuntu-24.04 (0123)"]);
    }

    #[test]
    fn a_template_made_anew_goes_first_and_its_image_is_not_fetched_again() {
        let lab = fixture::lab();
        let again = plan(&lab, &finished(), true).unwrap();
        assert_eq!(ids(&again), ["template.remove", "image.convert", "template.bake", "template.freeze"]);
        assert_eq!(again.steps[1].needs, [Kind::TemplateRemove.id()]);
        let first = plan(&lab, &TemplateFacts::default(), true).unwrap();
        assert_eq!(ids(&first)[0], "image.fetch", "there is nothing to remove");
    }

    #[test]
    fn a_template_that_machines_hang_on_is_not_made_anew() {
        let lab = fixture::lab();
        let hanging = vec!["/library/lab/gateway1.vmwarevm/gateway1.vmx".into()];
        let facts = TemplateFacts { hanging, ..finished() };
        let refused = plan(&lab, &facts, true).unwrap_err();
        assert_eq!(refused[0].to_string(), "gateway1 hangs on the template 0123");
        assert!(plan(&lab, &facts, false).unwrap().is_empty(), "and as it is it may stay");
    }
}
