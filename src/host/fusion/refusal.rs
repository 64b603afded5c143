//! Why Fusion refused: its own words, and the cause that its log, its locks or its files' owners tell.

use std::path::{Path, PathBuf};

use super::locks::{self, Lock};
use super::verbs::{self, Said, Witness};
use super::vmware_log::Mark;
use crate::host::{HostError, files, system};

/// An order about a VM, from before it was given.
pub struct Order {
    operation: &'static str,
    vmx: PathBuf,
    /// Where the log ended then: an older run's error is no cause of ours.
    log: Mark,
}

impl Order {
    pub fn about(operation: &'static str, vmx: &Path) -> Self {
        Self { operation, vmx: vmx.to_owned(), log: Mark::of(vmx) }
    }

    /// Returns the error of this order. `silent` is said if Fusion itself had no complaint.
    pub fn refused(&self, said: Said, silent: &str) -> HostError {
        let message = said.words().unwrap_or_else(|| silent.to_owned());
        let mut cause = None;
        for witness in verbs::meaning(&message).witnesses {
            match witness {
                Witness::Log => cause = self.log.cause(),
                Witness::Locks => {
                    if let Some(lock) = self.lock() {
                        return HostError::VmLocked { vmx: self.vmx.clone(), lock: Box::new(lock) };
                    }
                }
                Witness::Owners => {
                    if let Some(error) = self.foreign() {
                        return error;
                    }
                }
            }
            if cause.is_some() {
                break;
            }
        }
        HostError::Fusion { operation: self.operation, vmx: self.vmx.clone(), message, cause }
    }

    /// Returns the lock that stands in the way; one that a running program holds rather than one of a crash.
    fn lock(&self) -> Option<Lock> {
        let mut locks = locks::of(&self.vmx).ok()?;
        locks.sort_by_key(|lock| lock.grip != locks::Grip::Held);
        locks.into_iter().next()
    }

    /// Returns the error that names a file of the VM that belongs to somebody else.
    fn foreign(&self) -> Option<HostError> {
        let (bundle, ours) = (self.vmx.parent()?, system::user_id());
        let paths = std::iter::once(bundle.to_owned()).chain(files::list(bundle).ok()?);
        let owned = paths.filter_map(|path| Some((files::ownership(&path).ok()?.user, path)));
        let (user, path) = owned.into_iter().find(|(user, _)| *user != ours)?;
        Some(HostError::VmOfOthers { vmx: self.vmx.clone(), path, user, ours })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::fusion::fake::Fake;

    fn complaint(text: &str) -> Said {
        Said::Complaint(text.to_owned())
    }

    fn error_in_log(text: &str) -> String {
        format!(
            "2026-11-23T10:00:00.1Z In(05) vmx Msg_Post: Error\n2026-11-23T10:00:00.1Z In(05) vmx [msg.a] {text}\n2026-11-23T10:00:00.1Z In(05) vmx ----\n"
        )
    }

    #[test]
    fn the_log_tells_the_cause_but_not_an_older_one() {
        let fake = Fake::new();
        let vmx = fake.root().join("one.vmwarevm/one.vmx");
        let log = vmx.with_file_name("vmware.log");
        fake.write(&log, &error_in_log("of last week"));
        let order = Order::about("start", &vmx);
        let cause = |error: HostError| match error {
            HostError::Fusion { cause, .. } => cause,
            other => panic!("{other}"),
        };
        assert_eq!(cause(order.refused(complaint("The operation was canceled"), "")), None);
        files::append(&log, error_in_log("of now").as_bytes(), 0o644).unwrap();
        assert_eq!(cause(order.refused(complaint("Unknown error"), "")).as_deref(), Some("of now"));
        // Fusion begins a new log when a VM is powered on.
        files::rename(&log, &vmx.with_file_name("vmware-0.log")).unwrap();
        fake.write(&log, &error_in_log("new"));
        assert_eq!(cause(order.refused(Said::Nothing, "nothing")).as_deref(), Some("new"));
    }

    #[test]
    fn locks_and_owners_tell_it_where_the_log_does_not() {
        let fake = Fake::new();
        let vmx = fake.root().join("one.vmwarevm/one.vmx");
        fake.write(&vmx, "");
        let order = Order::about("start", &vmx);
        let plain = order.refused(complaint("Cannot connect to the virtual machine"), "");
        assert!(matches!(plain, HostError::Fusion { .. }), "{plain}");

        locks::tests::lock(&fake, &vmx, locks::tests::NO_PROCESS, "vmware-vmx");
        let locked = order.refused(complaint("Cannot connect to the virtual machine"), "");
        assert!(locked.to_string().contains("by process 99999999 (vmware-vmx)"), "{locked}");
        let other = order.refused(complaint("The snapshot already exists"), "");
        assert!(matches!(other, HostError::Fusion { .. }), "{other}");

        // Only root can give a file away, and only then is there something to see.
        if system::is_root() && std::os::unix::fs::chown(&vmx, Some(12345), None).is_ok() {
            let foreign = order.refused(complaint("Insufficient permissions in host operating system"), "");
            assert!(foreign.to_string().contains("belongs to user 12345"), "{foreign}");
        }
    }
}
