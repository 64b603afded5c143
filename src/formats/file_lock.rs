//! Lock files of VMware's programs: which process has a VM's file open.
//!
//! A file `X` that is open has a folder `X.lck` beside it, with a file `M12345.lck` of one line in it: the machine, the
//! process as `pid-time(program)`, and what else only VMware's programs need (`fileLockPrimitive.c` in open-vm-tools).
//! Time and program may be missing; on a Mac the time is there, in microseconds, and the program is not
//! (`FileLockProcessDescriptor` in `fileLockPosix.c`).

use std::fmt;

/// Who holds a lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// What VMware calls the machine: `uuid=…`. Which one that is, it does not say.
    pub machine: String,
    pub pid: u32,
    /// The program's name, such as `vmware-vmx`.
    pub program: Option<String>,
}

impl fmt::Display for Holder {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.program {
            Some(program) => write!(out, "process {} ({program})", self.pid),
            None => write!(out, "process {}", self.pid),
        }
    }
}

/// Reads a lock file; none if it does not name a process.
pub fn holder(bytes: &[u8]) -> Option<Holder> {
    let text = String::from_utf8_lossy(bytes);
    let (machine, rest) = text.split_once(' ')?;
    // A program's name may have a space in it.
    let process = match (rest.find('('), rest.find(')')) {
        (Some(open), Some(close)) if rest.find(' ').is_none_or(|space| open < space) && open < close => {
            &rest[..=close]
        }
        _ => rest.split(' ').next()?,
    };
    let (numbers, program) = match process.split_once('(') {
        Some((numbers, program)) => (numbers, Some(program.trim_end_matches(')'))),
        None => (process, None),
    };
    let pid = numbers.split('-').next()?.trim_end().parse().ok()?;
    let program = program.filter(|program| !program.is_empty()).map(str::to_owned);
    Some(Holder { machine: machine.to_owned(), pid, program })
}

/// Returns a lock file's content.
pub fn render(holder: &Holder, member: &str) -> String {
    let program = holder.program.as_ref().map(|program| format!("({program})")).unwrap_or_default();
    format!("{} {}-0{program} 0 X {member} lc=0", holder.machine, holder.pid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_is_read_with_its_program_and_without() {
        let found =
            holder(b"uuid=bf-ef-05-3f 25156-134219857720971604(vmware-vmx) 3 X M11454.lck lc=1\0\0").unwrap();
        assert_eq!(found.to_string(), "process 25156 (vmware-vmx)");
        assert_eq!(found.machine, "uuid=bf-ef-05-3f");
        assert_eq!(holder(b"uuid=1 5042-0 0 X M00001.lck").unwrap().to_string(), "process 5042");
        assert_eq!(holder(b"uuid=1 7").unwrap().pid, 7);
        let spaced = holder(b"uuid=1 9-0(VMware Fusion) 0 X M1.lck lc=(x)").unwrap();
        assert_eq!(spaced.program.as_deref(), Some("VMware Fusion"));
    }

    #[test]
    fn what_names_no_process_has_no_holder() {
        for text in ["", "another-mac.local", "uuid=1 ", "uuid=1 x-0", "uuid=1 )(", "uuid=1 -1(x"] {
            assert_eq!(holder(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn what_is_written_is_read() {
        for program in [None, Some("vmware-vmx".to_owned())] {
            let written = Holder { machine: "uuid=1".to_owned(), pid: 4711, program };
            assert_eq!(holder(render(&written, "M04711.lck").as_bytes()), Some(written));
        }
    }
}
