//! What a machine prints on its serial port, line by line, and what can be told from it: that it is up, or has panicked.

/// What a kernel prints when it gives up (`panic()` in kernel/panic.c).
const PANIC: &str = "Kernel panic - not syncing";
/// What the firmware prints when it gives up (EDK II, CpuExceptionHandlerLib).
const FIRMWARE_PANIC: &str = "!!!! X64 Exception Type";
/// What QEMU prints when the processor cannot run what the guest wants.
const KVM_FAILURE: &str = "KVM internal error";
/// How a system asks who is there (agetty's prompt).
const LOGIN: &str = " login: ";
/// What systemd prints once somebody heeds the power button: before that a soft stop would be lost.
const HEEDED: [&str; 2] = ["Started ", "systemd-logind.service"];
/// A line longer than this is told in pieces.
const LONGEST_LINE: usize = 4096;

/// What was seen in a piece of output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    Line(String),
    /// Somebody could log in, or heeds the power button; it may be seen several times.
    Up,
    /// Nothing will run here any more: what was printed of it.
    Panic(String),
}

/// Cuts the output into lines. The last one may not be whole yet: a prompt has no end.
#[derive(Debug, Default)]
pub struct Console {
    line: Vec<u8>,
}

impl Console {
    pub fn feed(&mut self, bytes: &[u8]) -> Vec<Seen> {
        let mut seen = Vec::new();
        for byte in bytes {
            match byte {
                b'\r' => {}
                b'\n' => self.end_line(&mut seen),
                byte => self.line.push(*byte),
            }
            if self.line.len() >= LONGEST_LINE {
                self.end_line(&mut seen);
            }
        }
        if self.line.ends_with(LOGIN.as_bytes()) && is_up(&String::from_utf8_lossy(&self.line)) {
            seen.push(Seen::Up);
        }
        seen
    }

    /// Returns what was printed after the last end of a line.
    pub fn rest(mut self) -> Option<String> {
        let mut seen = Vec::new();
        self.end_line(&mut seen);
        seen.into_iter()
            .find_map(|seen| if let Seen::Line(line) = seen { Some(line) } else { None })
            .filter(|line| !line.is_empty())
    }

    fn end_line(&mut self, seen: &mut Vec<Seen>) {
        let line = String::from_utf8_lossy(&std::mem::take(&mut self.line)).into_owned();
        let panic = [PANIC, FIRMWARE_PANIC, KVM_FAILURE].iter().find_map(|words| line.find(words));
        let panic = panic.map(|at| Seen::Panic(line[at..].to_owned()));
        let up = is_up(&line);
        seen.push(Seen::Line(line));
        seen.extend(panic);
        seen.extend(up.then_some(Seen::Up));
    }
}

/// Says whether a line tells that a system is up. The kernel may print something right behind a prompt.
fn is_up(line: &str) -> bool {
    let prompts = line.split_once(LOGIN).is_some_and(|(host, _)| !host.contains(' ') && host != "Last");
    prompts || HEEDED.iter().all(|words| line.contains(words))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fed(pieces: &[&str]) -> Vec<Seen> {
        let mut console = Console::default();
        pieces.iter().flat_map(|piece| console.feed(piece.as_bytes())).collect()
    }

    #[test]
    fn a_prompt_without_an_end_of_its_line_says_that_the_machine_is_up() {
        let seen = fed(&[
            "[  OK  ] Reached target\r\n\r\nDebian GNU/Linux 13 gateway1 ttyS0\r\n\r\ngateway1 lo",
            "gin: ",
        ]);
        assert_eq!(seen.last(), Some(&Seen::Up));
        assert_eq!(seen[0], Seen::Line("[  OK  ] Reached target".into()));
        let seen = fed(&["gateway1 login: [  109.8] cloud-init[367]: done\r\ngateway1 login: "]);
        assert_eq!(seen[1], Seen::Up, "{seen:?}");
        assert!(!fed(&["Last login: yesterday\r\n"]).contains(&Seen::Up), "a line is no prompt");
    }

    #[test]
    fn a_machine_is_up_when_its_power_button_is_heeded() {
        let line = "[\u{1b}[0;32m  OK  \u{1b}[0m] Started \u{1b}[0;1;39msystemd-logind.service\u{1b}[0m - User Login Management.";
        assert_eq!(fed(&[line, "\r\n"]).last(), Some(&Seen::Up));
        assert!(!fed(&["         Starting systemd-logind.service\r\n"]).contains(&Seen::Up));
    }

    #[test]
    fn a_panic_is_told_with_its_reason_and_after_its_line() {
        let line = "[    2.1] Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000009";
        let seen = fed(&[line, "\r\n"]);
        let reason = "Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000009";
        assert_eq!(seen, [Seen::Line(line.into()), Seen::Panic(reason.into())]);
        assert!(matches!(&fed(&["KVM internal error. Suberror: 1\n"])[1], Seen::Panic(_)));
    }

    #[test]
    fn a_line_without_end_is_told_in_pieces_and_the_rest_is_not_lost() {
        let mut console = Console::default();
        let seen = console.feed("x".repeat(LONGEST_LINE + 3).as_bytes());
        assert_eq!(seen, [Seen::Line("x".repeat(LONGEST_LINE))]);
        assert_eq!(console.rest(), Some("xxx".into()));
    }
}
