//! The board as lines of a given width: names left, phases in fixed columns, reason and stopwatch right.

use std::time::Duration;

use super::board::{Board, CLUSTER_ROW, Doing, MAC_ROW, Proof, Row, Transfer};
use super::cell::{Cell, State, not_yet};
use crate::cli::terminal::{Ink, Pen};
use crate::cli::words;
use crate::engine::event::Held;
use crate::engine::verify::unproven;
use console::measure_text_width as width_of;

/// A row is not drawn wider than this: the eye must find the stopwatch.
const WIDEST: usize = 120;
/// Columns that stay free: some terminals wrap when the last one is filled, and a `^C` that the terminal echoes must
/// not make a row two lines.
const FREE: usize = 3;
/// Room for a reason, below which the phases are drawn as symbols only.
const LEAST_DETAIL: usize = 24;
/// The same where the names stand once above all rows.
const LEAST_DETAIL_BELOW_HEADS: usize = 18;
/// Room for the words beside a transfer's numbers, below which they are left out.
const LEAST_WORDS: usize = 12;
/// Columns of the stopwatch with its gap: `  48.1 s`.
const STOPWATCH: usize = 8;
/// Between name, phases and reason.
const GAP: usize = 2;

/// What the proof's row is called.
const PROOF_ROW: &str = "proof";

/// Returns the board's lines: one for each row, one for the proof once it began, and a last one with the count of
/// steps.
pub fn lines(board: &Board, now: Duration, pen: &Pen) -> Vec<String> {
    let width = pen.width.saturating_sub(FREE).min(WIDEST);
    let name = board.rows.iter().map(|row| width_of(&row.name)).max().unwrap_or(0);
    let full =
        board.rows.iter().map(|row| width_of(&cells(row, &Pen { color: false, ..*pen }))).max().unwrap_or(0);
    let room = |middle: usize, detail: usize| name + middle + 2 * GAP + detail + STOPWATCH <= width;
    let narrow = board.rows.iter().map(|row| row.cells.len()).max().unwrap_or(0);
    let heads = heads(board);
    let headed = width_of(&heads.join(" ")).max(narrow);
    let (form, middle) = match () {
        () if room(full, LEAST_DETAIL) => (Form::Named, full),
        () if heads.len() > 1 && room(headed, LEAST_DETAIL_BELOW_HEADS) => (Form::Headed(heads), headed),
        () if heads.len() > 1 => {
            let middle = heads.len().max(narrow);
            (Form::Lettered(heads), middle)
        }
        () => (Form::Symbols, narrow),
    };
    let columns = Columns { name, middle, width };
    let mut lines = Vec::new();
    if let Form::Headed(heads) | Form::Lettered(heads) = &form {
        let (letters, names) = (heads.iter().map(|head| initial(head)).collect::<String>(), heads.join(" "));
        let heads = if matches!(form, Form::Headed(_)) { names } else { format!("{letters}  {names}") };
        let head = format!("{}{heads}", " ".repeat(name + GAP));
        lines.push(pen.paint(Ink::Dim, &pen.fit(&head, width)));
    }
    lines.extend(board.rows.iter().map(|row| line(row, &form, &columns, now, pen)));
    lines.extend(proof(board, &columns, pen));
    lines.push(line_of(&columns, &total(board), "", "", &words::stopwatch(now), pen, |text| {
        pen.paint(Ink::Dim, text)
    }));
    lines
}

struct Columns {
    name: usize,
    middle: usize,
    width: usize,
}

/// How a row's phases are drawn.
enum Form {
    /// `✓ Clone  ● Boot  · Ready`.
    Named,
    /// A symbol below the name of each phase, which stands once above all rows.
    Headed(Vec<String>),
    /// A symbol below the first letter of each phase's name, which stand once above all rows with the names behind them.
    Lettered(Vec<String>),
    /// `✓●·`.
    Symbols,
}

/// Returns the phases of the machines, in their order. What the host and the cluster do is of another kind.
fn heads(board: &Board) -> Vec<String> {
    let mut heads: Vec<String> = Vec::new();
    for row in board.rows.iter().filter(|row| is_of_machine(row)) {
        let mut after = 0;
        for cell in &row.cells {
            match heads.iter().position(|head| *head == cell.head) {
                Some(at) => after = at + 1,
                None => {
                    heads.insert(after, cell.head.clone());
                    after += 1;
                }
            }
        }
    }
    heads
}

fn initial(head: &str) -> &str {
    head.char_indices().nth(1).map_or(head, |(second, _)| &head[..second])
}

fn is_of_machine(row: &Row) -> bool {
    ![MAC_ROW, CLUSTER_ROW].contains(&row.name.as_str())
}

/// Returns `32 of 49 steps, 1 failed, 16 not run`, with the time to the end where this lab's own runs tell it.
fn total(board: &Board) -> String {
    let count = board.count();
    let mut text = format!("{} of {}", count.done, words::count(count.all, "step"));
    for (number, what) in [(count.failed, "failed"), (count.skipped, "not run")] {
        if number > 0 {
            text.push_str(&format!(", {number} {what}"));
        }
    }
    let is_under_way = count.done + count.failed + count.skipped < count.all;
    match board.ahead.left().filter(|_| is_under_way && count.failed == 0) {
        Some(Duration::ZERO) => text.push_str(", longer than last time"),
        Some(left) => text.push_str(&format!(", about {} left", words::stopwatch(left))),
        None => {}
    }
    text
}

/// Returns `proof  ✓ 25 checks passed`; nothing before the first check.
fn proof(board: &Board, columns: &Columns, pen: &Pen) -> Option<String> {
    let Proof { passed, failed, not_asked } = board.proof;
    let (ink, text) = match (passed + failed + not_asked, passed) {
        (0, _) => return None,
        (all, passed) if all == passed => {
            (Ink::Dim, format!("{} {} passed", pen.tick(), words::count(all, "check")))
        }
        (all, _) => (Ink::Bad, format!("{} {}", pen.cross(), unproven(failed, not_asked, all))),
    };
    let line = format!("{}  {}", pad(&pen.paint(Ink::Dim, PROOF_ROW), columns.name), pen.paint(ink, &text));
    Some(pen.fit(&line, columns.width))
}

fn line(row: &Row, form: &Form, columns: &Columns, now: Duration, pen: &Pen) -> String {
    let middle = match form {
        Form::Named => cells(row, pen),
        Form::Headed(heads) if is_of_machine(row) => below(heads, |head| width_of(head) + 1, row, pen),
        Form::Lettered(heads) if is_of_machine(row) => below(heads, |_| 1, row, pen),
        Form::Headed(_) | Form::Lettered(_) | Form::Symbols => symbols(row, pen),
    };
    // What is no machine has no phases to stand below the others', and more to say.
    let taken = if is_of_machine(row) { columns.middle } else { width_of(&middle) };
    let room = columns.width.saturating_sub(columns.name + taken + 2 * GAP + STOPWATCH);
    let columns = &Columns { name: columns.name, middle: taken, width: columns.width };
    let detail = said(row.doing(now), room);
    let state = row.state();
    // A running stopwatch shows seconds only, so that it does not flicker; a row that stands still tells more.
    let watch = match (row.elapsed(now), state) {
        (None, _) => String::new(),
        (Some(elapsed), State::Running) => words::stopwatch(elapsed),
        (Some(elapsed), _) => words::lap(elapsed),
    };
    line_of(columns, &row.name, &middle, &detail, &watch, pen, |name| match state {
        State::Done | State::Pending | State::Skipped => pen.paint(Ink::Dim, name),
        State::Failed => pen.paint(Ink::Bad, name),
        State::Running => pen.paint(Ink::Strong, name),
    })
}

/// Puts the four columns beside each other; the reason gets what is left and is cut to it.
fn line_of(
    columns: &Columns,
    name: &str,
    middle: &str,
    detail: &str,
    watch: &str,
    pen: &Pen,
    paint_name: impl Fn(&str) -> String,
) -> String {
    let gap = " ".repeat(GAP);
    let mut line = pad(&paint_name(name), columns.name);
    line.push_str(&gap);
    if width_of(&line) <= columns.name + GAP {
        line.push_str(&pad(middle, columns.middle));
        line.push_str(&gap);
    }
    let room = columns.width.saturating_sub(width_of(&line) + STOPWATCH);
    let detail = pad(&pen.paint(Ink::Dim, &cut(detail, room, pen)), room);
    line.push_str(&detail);
    let watch = format!("{watch:>STOPWATCH$}");
    line.push_str(&pen.paint(Ink::Dim, &watch));
    pen.fit(line.trim_end(), columns.width)
}

fn pad(text: &str, width: usize) -> String {
    format!("{text}{}", " ".repeat(width.saturating_sub(width_of(text))))
}

/// Returns `✓ Clone  ● Boot  · Ready`: symbols change in place, words do not move.
fn cells(row: &Row, pen: &Pen) -> String {
    let gap = " ".repeat(GAP);
    row.cells
        .iter()
        .map(|cell| paint_cell(cell, &format!("{} {}", symbol(cell.state(), pen), cell.label), pen))
        .collect::<Vec<_>>()
        .join(&gap)
}

/// Returns a machine's symbols, each below the first letter of its phase's name.
fn below(heads: &[String], room: impl Fn(&str) -> usize, row: &Row, pen: &Pen) -> String {
    let mut text = String::new();
    for head in heads {
        let cell = row.cells.iter().find(|cell| cell.head == *head);
        let symbol = cell.map_or(" ".to_owned(), |cell| paint_cell(cell, symbol(cell.state(), pen), pen));
        text.push_str(&pad(&symbol, room(head)));
    }
    text.trim_end().to_owned()
}

/// Returns `✓●·`, for narrow terminals.
fn symbols(row: &Row, pen: &Pen) -> String {
    row.cells.iter().map(|cell| paint_cell(cell, symbol(cell.state(), pen), pen)).collect()
}

fn symbol(state: State, pen: &Pen) -> &'static str {
    match state {
        State::Pending => pen.pending(),
        State::Running => pen.running(),
        State::Done => pen.tick(),
        State::Failed => pen.cross(),
        State::Skipped => pen.skipped(),
    }
}

fn paint_cell(cell: &Cell, text: &str, pen: &Pen) -> String {
    match cell.state() {
        State::Running => pen.paint(Ink::Accent, text),
        State::Failed => pen.paint(Ink::Bad, text),
        State::Pending | State::Done | State::Skipped => pen.paint(Ink::Dim, text),
    }
}

/// Returns what a row says in so many columns.
fn said(doing: Doing, room: usize) -> String {
    match doing {
        Doing::Nothing => String::new(),
        Doing::Text(text) => text,
        Doing::Held(because) => shortened(&because, room),
        // The clause is known from the step; what is seen instead is the news.
        Doing::Waiting(unmet) => {
            let news = if unmet.seen.is_empty() { &unmet.what } else { &unmet.seen };
            let closest = news.rsplit(": ").next().unwrap_or_default();
            let closest = closest.split(" (os error").next().unwrap_or_default();
            first_that_fits(&[&not_yet(&unmet), news, closest], room)
        }
        Doing::Transfer { text, transfer } => {
            // Where there is little room, the time that is left says more than the speed, and both more than the words.
            let slow = Transfer { rate: None, ..transfer };
            let forms = [transferred(&transfer), transferred(&slow)];
            let told = forms.into_iter().find(|form| width_of(form) <= room);
            let told = told.unwrap_or_else(|| part_transferred(&slow));
            let words = room.saturating_sub(width_of(&told)) > LEAST_WORDS;
            if words { format!("{told}  {text}") } else { told }
        }
    }
}

/// Returns a reason in as few words as it takes: `waits for k8s-master1: start the cluster`, `waits for k8s-master1`,
/// `after k8s-master1`.
fn shortened(because: &Held, room: usize) -> String {
    let text = because.to_string();
    match &because.waits_for {
        Some(who) => first_that_fits(&[&text, &format!("waits for {who}"), &format!("after {who}")], room),
        None => text,
    }
}

/// Returns the first of several forms, from the longest to the shortest, that has room; the last if none has.
fn first_that_fits(forms: &[&str], room: usize) -> String {
    let fits = forms.iter().find(|form| width_of(form) <= room);
    fits.or(forms.last()).map_or_else(String::new, |form| (*form).to_owned())
}

/// Cuts text off between two words, where that does not leave too little of it.
fn cut(text: &str, room: usize, pen: &Pen) -> String {
    let cut = pen.fit(text, room);
    if cut == text {
        return cut;
    }
    match cut.rsplit_once(' ') {
        Some((words, _)) if 2 * width_of(words) > room => {
            format!("{} {}", words.trim_end_matches([',', ':', ';']), pen.ellipsis())
        }
        _ => cut,
    }
}

/// Returns `231.4 of 598.0 MiB, 5.1 MiB/s, 1:12 left`.
pub fn transferred(transfer: &Transfer) -> String {
    let mut text = match transfer.total {
        Some(total) => words::bytes_of(transfer.done, total),
        None => words::bytes(transfer.done),
    };
    if let Some(rate) = transfer.rate {
        text = format!("{text}, {}/s", words::bytes(rate));
    }
    if let Some(left) = transfer.left {
        text = format!("{text}, {} left", words::stopwatch(left));
    }
    text
}

/// Returns `38 % of 598.0 MiB, 1:12 left`.
fn part_transferred(transfer: &Transfer) -> String {
    let Some(total) = transfer.total.filter(|total| *total > 0) else { return transferred(transfer) };
    let part = u128::from(transfer.done) * 100 / u128::from(total);
    let left = transfer.left.map(|left| format!(", {} left", words::stopwatch(left)));
    format!("{part} % of {}{}", words::bytes(total), left.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::super::examples::{done, failed, id, plan, reached, start, waiting};
    use super::*;
    use crate::engine::event::{Event, Unmet};
    use crate::plan::step::Phase;

    fn board() -> Board {
        let mut board = Board::default();
        let events = [
            (0, plan()),
            (0, start("network.apply")),
            (1, done("network.apply", 1000)),
            (1, start("image.fetch")),
            (1, Event::Progress { step: id("image.fetch"), done: 0, total: Some(627_304_038) }),
            (6, Event::Progress { step: id("image.fetch"), done: 242_221_056, total: Some(627_304_038) }),
            (1, start("vm.clone/gateway1")),
            (2, done("vm.clone/gateway1", 1000)),
            (2, start("vm.start/gateway1")),
            (3, done("vm.start/gateway1", 1000)),
            (3, start("guest.ready/gateway1")),
            (3, reached("guest.ready/gateway1", "gateway1", Phase::Net)),
            (3, waiting("guest.ready/gateway1", "cloud-init is done on gateway1", "it runs modules:final")),
            (4, start("vm.clone/k8s-master1")),
            (5, failed("vm.clone/k8s-master1", 1000)),
        ];
        for (second, event) in events {
            board.event(&event, Duration::from_secs(second));
        }
        board
    }

    fn drawn(width: usize) -> Vec<String> {
        lines(&board(), Duration::from_secs(9), &Pen::plain(width))
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        for width in [20, 40, 60, 80, 100, 120, 200] {
            for color in [false, true] {
                for line in lines(&board(), Duration::from_secs(9), &Pen { color, ..Pen::plain(width) }) {
                    assert!(width_of(&line) < width, "{width}: {line:?}");
                }
            }
        }
    }

    #[test]
    fn wide_terminals_show_every_phase_by_name() {
        let lines = drawn(200);
        assert_eq!(
            lines[1],
            "gateway1     ✓ Clone  ✓ Boot  ✓ Net  ● Ready  · Configure  · Healthy  it runs modules:final                         0:06"
        );
        assert!(
            lines[2].starts_with("k8s-master1  ✗ Clone  · Boot  · Net  · Ready  · Init  · Healthy"),
            "{}",
            lines[2]
        );
        assert!(lines[0].contains("231 of 598.2 MiB, 28.9 MiB/s, 0:12 left"), "{}", lines[0]);
    }

    #[test]
    fn phases_are_named_once_where_each_row_has_no_room_for_it() {
        let lines = drawn(80);
        assert_eq!(lines[0], "             Clone Boot Net Ready Setup Healthy");
        assert!(lines[2].starts_with("gateway1     ✓     ✓    ✓   ●     ·     ·"), "{}", lines[2]);
        assert!(lines[3].starts_with("k8s-master1  ✗     ·    ·   ·     ·     ·"), "{}", lines[3]);
        assert!(lines[2].ends_with("0:06"), "{}", lines[2]);
    }

    #[test]
    fn the_time_left_stands_beside_the_steps_while_all_goes_well() {
        let mut planned =
            super::super::examples::planned("vm.start/gateway1", crate::plan::step::Phase::Boot, "start");
        (planned.cost_seconds, planned.known) = (90, true);
        let mut board = Board::default();
        board.event(&Event::Planned { steps: vec![planned] }, Duration::ZERO);
        board.event(&start("vm.start/gateway1"), Duration::ZERO);
        let last = |board: &Board, now| lines(board, now, &Pen::plain(80)).pop().unwrap();
        let at = Duration::from_secs;
        board.ahead.tick(at(10));
        assert!(last(&board, at(10)).starts_with("0 of 1 step, about 1:20 left"), "{}", last(&board, at(10)));
        board.ahead.tick(at(100));
        assert!(last(&board, at(100)).starts_with("0 of 1 step, longer than last time"));
        board.event(&done("vm.start/gateway1", 1000), at(101));
        assert!(last(&board, at(101)).starts_with("1 of 1 step  "), "{}", last(&board, at(101)));
    }

    #[test]
    fn narrow_terminals_show_symbols_below_letters_and_what_is_seen() {
        let lines = drawn(60);
        assert_eq!(lines[0], "             CBNRSH  Clone Boot Net Ready Setup Healthy");
        assert!(lines[1].starts_with("Mac          ✓●  231 of 598.2 MiB, 0:12 left"), "{}", lines[1]);
        assert!(lines[2].starts_with("gateway1     ✓✓✓●··  it runs modules:final"), "{}", lines[2]);
        assert!(lines[2].ends_with("0:06"), "{}", lines[2]);
        assert!(lines.iter().all(|line| width_of(line) < 60));
    }

    #[test]
    fn a_reason_that_has_no_room_keeps_whom_it_is_about_and_no_word_is_cut() {
        let because = Held::of("k8s-master1", "start the cluster");
        let told = |room| shortened(&because, room);
        assert_eq!(told(40), "waits for k8s-master1: start the cluster");
        assert_eq!((told(21).as_str(), told(20).as_str()), ("waits for k8s-master1", "after k8s-master1"));
        let seen = "connect to 10.10.0.11:22: Connection refused (os error 111)";
        let unmet = Unmet { what: "g1 takes our key".to_owned(), seen: seen.to_owned() };
        assert_eq!(super::said(Doing::Waiting(unmet), 20), "Connection refused");
        let pen = Pen::plain(80);
        assert_eq!(cut("configure the Gateway and its application", 20, &pen), "configure the …");
        assert_eq!(cut("k8s-master1-is-a-long-name", 10, &pen), "k8s-maste…");
    }

    #[test]
    fn the_proof_is_a_row_and_a_failed_check_colours_it() {
        let mut board = board();
        let check = |passed| super::super::examples::checked("it answers", passed);
        let row = |board: &Board| lines(board, Duration::from_secs(9), &Pen::plain(60)).into_iter().nth(5);
        assert!(!row(&board).unwrap().contains("proof"));
        board.event(&check(true), Duration::from_secs(9));
        assert_eq!(row(&board).unwrap(), "proof        ✓ 1 check passed");
        board.event(&check(false), Duration::from_secs(9));
        assert_eq!(row(&board).unwrap(), "proof        ✗ 1 of 2 checks failed");
    }

    #[test]
    fn stopwatches_stand_in_one_column() {
        for width in [60, 80, 200] {
            let ends: Vec<usize> = drawn(width)
                .iter()
                .filter(|line| line.ends_with(|last: char| last.is_ascii_digit()))
                .map(|line| width_of(line))
                .collect();
            assert!(ends.len() >= 3 && ends.windows(2).all(|pair| pair[0] == pair[1]), "{width}: {ends:?}");
        }
    }

    #[test]
    fn without_utf8_everything_is_ascii() {
        let pen = Pen { unicode: false, ..Pen::plain(80) };
        assert!(lines(&board(), Duration::from_secs(9), &pen).iter().all(|line| line.is_ascii()));
    }
}
