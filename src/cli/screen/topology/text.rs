//! The picture for a terminal: it is as wide as it must be, and no wider than there is room.

use super::canvas::{Area, Canvas};
use super::{Diagram, Group, Machine, Mark};
use crate::cli::terminal::{Ink, Pen};
use crate::cli::words;

/// The picture does not grow wider than this.
const WIDEST: usize = 92;
/// Below this there is a list in place of a picture.
const NARROWEST: usize = 46;
/// From a frame to what is in it.
const MARGIN: usize = 3;
/// The way down from the VIP stands no further left: the way from you comes before it.
const LEAST_TRUNK: usize = 9;
/// Between two boxes.
const GAP: usize = 2;
/// What a box has beside its words: its sides, and a space at each.
const SIDES: usize = 4;
const FRAME: Option<Ink> = Some(Ink::Dim);

/// Returns the picture's lines.
pub fn lines(diagram: &Diagram, pen: &Pen) -> Vec<String> {
    if pen.width < NARROWEST {
        return list(diagram, pen);
    }
    let width = pen.width.min(WIDEST);
    let mut sheet = Sheet { canvas: Canvas::new(width), width, line: 0, internal_edge: 0 };
    sheet.home(diagram);
    sheet.gateways(diagram);
    sheet.cluster(diagram);
    sheet.canvas.lines(pen)
}

struct Sheet {
    canvas: Canvas,
    width: usize,
    /// The next free line.
    line: usize,
    /// The line of the inner frame's upper edge.
    internal_edge: usize,
}

impl Sheet {
    /// The LAN's frame, down to the gateways' boxes; its lower edge comes with them.
    fn home(&mut self, diagram: &Diagram) {
        let middles = middles(diagram);
        let trunk = (middles[0] + middles[middles.len() - 1]) / 2;
        self.canvas.text(2, 2, "you", Some(Ink::Strong));
        let vip = trunk.max(LEAST_TRUNK);
        self.canvas.across(6, vip.saturating_sub(4), 2, None);
        self.canvas.spot(vip.saturating_sub(3), 2, '▶', None);
        let ink = diagram.vip.mark.map_or(Some(Ink::Strong), |mark| Some(mark.ink()));
        let name = format!("VIP {}", diagram.vip.address);
        self.canvas.text(vip - 1, 2, &name, ink);
        self.line = self.ports(vip, vip - 1 + name.len() + 2, diagram);
        self.canvas.down(vip, 3, self.line, None);
        self.line += 1;
        self.branches(vip, &middles, diagram);
    }

    /// What the VIP answers on: beside it, or below where there is no room. Returns the line of the way down.
    fn ports(&mut self, vip: usize, beside: usize, diagram: &Diagram) -> usize {
        let ports = diagram.vip.ports.join("  ");
        if beside + ports.len() + 2 <= self.width {
            self.canvas.text(beside, 2, &ports, None);
            return 3;
        }
        let mut line = 2;
        for ports in in_lines(&diagram.vip.ports, self.width - vip - 5) {
            line += 1;
            self.canvas.text(vip + 3, line, &ports, None);
        }
        line + 1
    }

    /// From the VIP to each gateway.
    fn branches(&mut self, trunk: usize, middles: &[usize], diagram: &Diagram) {
        let (first, last) = (middles[0].min(trunk), middles[middles.len() - 1].max(trunk));
        if first < last {
            self.canvas.across(first, last, self.line, None);
            let trunk_sign = match (trunk == first, trunk == last) {
                (true, _) => '├',
                (_, true) => '┤',
                _ => '┴',
            };
            self.canvas.spot(trunk, self.line, trunk_sign, None);
            for (at, machine) in middles.iter().zip(&diagram.gateways) {
                let sign = match (*at == first, *at == last) {
                    (true, _) => '╭',
                    (_, true) => '╮',
                    _ => '┬',
                };
                let ink = machine.holds_vip.then_some(Ink::Good);
                self.canvas.spot(*at, self.line, sign, ink);
            }
            self.line += 1;
        }
    }

    /// The gateways' boxes, which stand in both frames.
    fn gateways(&mut self, diagram: &Diagram) {
        let (top, room) = (self.line, words_of(&diagram.gateways));
        let (width, height) = (room + SIDES, 6);
        let (lan_edge, internal_edge) = (top + 2, top + 4);
        self.canvas.frame(Area { left: 0, top: 0, width: self.width, height: lan_edge + 1 }, FRAME);
        self.title(0, &format!("home network {}", diagram.lan), MARGIN - 1);
        self.canvas.across(0, self.width - 1, internal_edge, FRAME);
        self.canvas.spot(0, internal_edge, '╭', FRAME);
        self.canvas.spot(self.width - 1, internal_edge, '╮', FRAME);
        for (place, machine) in diagram.gateways.iter().enumerate() {
            let left = MARGIN + place * (width + GAP);
            let lan = machine.lan.clone().unwrap_or_default();
            self.machine(
                Area { left, top, width, height },
                machine,
                &[&lan, &machine.text, &machine.address],
            );
            for edge in [lan_edge, internal_edge] {
                self.canvas.spot(left, edge, '┤', FRAME);
                self.canvas.spot(left + width - 1, edge, '├', FRAME);
            }
            let ink = if machine.holds_vip { Some(Ink::Good) } else { FRAME };
            self.canvas.spot(left + width / 2, top, '┴', ink);
        }
        let (name, subnet) = &diagram.internal;
        let title = format!("{name} {subnet}");
        let end = MARGIN + diagram.gateways.len() * (width + GAP);
        (self.line, self.internal_edge) = (top + height, internal_edge);
        if end + title.len() + 4 <= self.width {
            self.title(internal_edge, &title, end);
        } else {
            self.canvas.text(MARGIN, self.line, &title, Some(Ink::Strong));
            self.line += 1;
        }
    }

    /// The members, a row of boxes after the other, and the frame around them.
    fn cluster(&mut self, diagram: &Diagram) {
        let top = self.internal_edge + 1;
        for group in &diagram.groups {
            self.group(group);
        }
        self.line += 1;
        for note in &diagram.notes {
            for line in words::wrap(note, self.width - 2 * MARGIN) {
                self.canvas.text(MARGIN, self.line, &line, Some(Ink::Dim));
                self.line += 1;
            }
        }
        self.canvas.down(0, top, self.line, FRAME);
        self.canvas.down(self.width - 1, top, self.line, FRAME);
        self.canvas.across(1, self.width - 2, self.line, FRAME);
        self.canvas.spot(0, self.line, '╰', FRAME);
        self.canvas.spot(self.width - 1, self.line, '╯', FRAME);
    }

    fn group(&mut self, group: &Group) {
        self.line += 1;
        self.canvas.text(MARGIN, self.line, &group.title, Some(Ink::Strong));
        let beside = MARGIN + group.title.len() + 2;
        let text = words::wrap(&group.text, self.width - beside - MARGIN);
        for (index, line) in text.iter().enumerate() {
            self.canvas.text(beside, self.line + index, line, None);
        }
        self.line += text.len().max(1);
        let (width, height) = (words_of(&group.machines) + SIDES, 5);
        let fitting = ((self.width - 2 * MARGIN + GAP) / (width + GAP)).max(1);
        for row in group.machines.chunks(fitting) {
            for (place, machine) in row.iter().enumerate() {
                let left = MARGIN + place * (width + GAP);
                let area = Area { left, top: self.line, width, height };
                self.machine(area, machine, &[&machine.address, &machine.text]);
            }
            self.line += height;
        }
    }

    fn machine(&mut self, area: Area, machine: &Machine, words: &[&str]) {
        self.canvas.clear(area);
        self.canvas.frame(area, FRAME);
        let mut left = area.left + 2;
        if let Some(mark) = machine.mark {
            let sign = if mark == Mark::Absent { '○' } else { '●' };
            self.canvas.spot(left, area.top + 1, sign, Some(mark.ink()));
            left += 2;
        }
        self.canvas.text(left, area.top + 1, &machine.name, Some(Ink::Strong));
        for (index, word) in words.iter().enumerate() {
            let is_state = *word == machine.text;
            let ink = machine.mark.filter(|_| is_state).map(Mark::ink);
            self.canvas.text(area.left + 2, area.top + 2 + index, word, ink);
        }
    }

    /// Writes a title into a frame's upper edge.
    fn title(&mut self, line: usize, title: &str, left: usize) {
        self.canvas.text(left, line, &format!(" {title} "), Some(Ink::Strong));
    }
}

/// Returns texts beside each other, on as many lines as it takes; none is broken.
fn in_lines(texts: &[String], room: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for text in texts {
        match lines.last_mut().filter(|line| line.len() + 2 + text.len() <= room) {
            Some(line) => line.extend(["  ", text]),
            None => lines.push(text.clone()),
        }
    }
    lines
}

/// Returns the columns that the words of the widest of these boxes take.
fn words_of(machines: &[Machine]) -> usize {
    let of = |machine: &Machine| {
        let name = machine.name.len() + if machine.mark.is_some() { 2 } else { 0 };
        let lan = machine.lan.as_ref().map_or(0, String::len);
        name.max(lan).max(machine.address.len()).max(machine.text.len())
    };
    machines.iter().map(of).max().unwrap_or(0)
}

/// Returns where the middle of each gateway's box is; one in the margin if there is no gateway.
fn middles(diagram: &Diagram) -> Vec<usize> {
    let width = words_of(&diagram.gateways) + SIDES;
    let of = |place: usize| MARGIN + place * (width + GAP) + width / 2;
    (0..diagram.gateways.len().max(1)).map(of).collect()
}

/// The same in words: where there is no room for a picture, or nobody who would see it.
pub fn list(diagram: &Diagram, pen: &Pen) -> Vec<String> {
    let mut lines = vec![format!("home network {}", diagram.lan), format!("  VIP {}", diagram.vip.address)];
    lines.extend(in_lines(&diagram.vip.ports, pen.width - 4).iter().map(|ports| format!("    {ports}")));
    let line = |machine: &Machine| {
        let lan = machine.lan.as_ref().map(|lan| format!("{lan} in the home network, ")).unwrap_or_default();
        let text =
            machine.mark.map_or_else(|| machine.text.clone(), |mark| pen.paint(mark.ink(), &machine.text));
        format!("  {}: {lan}{} on {}; {text}", machine.name, machine.address, diagram.internal.0)
    };
    lines.extend(diagram.gateways.iter().map(line));
    lines.push(format!("{} {}", diagram.internal.0, diagram.internal.1));
    for group in &diagram.groups {
        lines.push(format!("  {}: {}", group.title, group.text));
        lines.extend(group.machines.iter().map(line));
    }
    lines.extend(diagram.notes.iter().map(|note| format!("  {note}")));
    lines.iter().flat_map(|line| words::wrap(line, pen.width)).collect()
}
