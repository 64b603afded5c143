//! Advice on what must not leave this Mac.

use super::{Failure, Kind, Report};
use crate::stack::support::Leak;

impl Report {
    /// A secret is in what was gathered for a helper.
    pub fn secret_left(leak: Leak) -> Failure {
        let Leak { path, secret } = leak;
        Self::new("secret-left", Kind::Unexpected, format!("{path} has {secret} in it, so nothing was written"))
            .at(path.clone())
            .because("what was gathered is searched for the lab's keys and tokens before it is written, and one was left")
            .advise("leave that file out; and please tell the authors, since it should have been taken out:")
            .run(format!("fusionlab support --without {}", crate::formats::command::quote(&path)))
            .into()
    }
}

#[cfg(test)]
mod tests {
    use super::super::catalogue;
    use super::*;

    #[test]
    fn the_file_and_the_secret_are_named_and_the_way_on_is_a_command() {
        let leak = Leak { path: "runs/a b.log".to_owned(), secret: "ca.key".to_owned() };
        let Failure::Report(report) = Report::secret_left(leak) else { panic!("it is a report") };
        assert_eq!(report.what, "runs/a b.log has ca.key in it, so nothing was written");
        assert!(format!("{:?}", report.fix).contains("support --without 'runs/a b.log'"), "{:?}", report.fix);
        assert!(catalogue::find(report.id).is_some());
    }
}
