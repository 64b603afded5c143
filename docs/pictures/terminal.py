"""Prints an SVG of what a terminal shows once a command has ended: `terminal.py COLUMNS COMMAND`.

The command runs in a pseudo-terminal, and pyte plays the terminal, so that what was drawn over is not seen. Colours are
classes with the reader's own light or dark, as in topology.svg.
"""

import fcntl
import html
import os
import pty
import struct
import sys
import termios

import pyte

ROWS = 400
CELL, LINE, MARGIN, BAR = 8.4, 19, 16, 30

# What the program's colours are on paper, and on a dark screen.
COLOURS = {
    "red": ("#a40e26", "#ff7b72"),
    "green": ("#1a7f37", "#3fb950"),
    "brown": ("#7d4e00", "#d29922"),
    "blue": ("#0550ae", "#79c0ff"),
    "magenta": ("#8250df", "#d2a8ff"),
    "cyan": ("#1b7c83", "#76e3ea"),
}


def run(columns, command):
    """Returns the screen after the command."""
    screen = pyte.Screen(columns, ROWS)
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ.update(TERM="xterm-256color", LANG="C.UTF-8")
        os.execvp("sh", ["sh", "-c", command])
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, columns, 0, 0))
    heard = b""
    while True:
        try:
            piece = os.read(terminal, 65536)
        except OSError:
            break
        if not piece:
            break
        heard += piece
    os.waitpid(pid, 0)
    # pyte does not know dim text; bright black is as good.
    pyte.ByteStream(screen).feed(heard.replace(b"\x1b[2m", b"\x1b[90m"))
    return screen


def lines(screen):
    """Returns the lines as runs of (text, classes), without empty ones at the end."""
    told = []
    for row in range(screen.lines):
        runs = []
        for column in range(screen.columns):
            cell = screen.buffer[row][column]
            classes = []
            if cell.fg in COLOURS:
                classes.append(cell.fg)
            if cell.bold:
                classes.append("bold")
            if cell.fg in ("brightblack", "black"):
                classes.append("dim")
            name = " ".join(classes)
            if runs and runs[-1][1] == name:
                runs[-1][0] += cell.data
            else:
                runs.append([cell.data, name])
        if runs and not runs[-1][1]:
            runs[-1][0] = runs[-1][0].rstrip()
        told.append([run for run in runs if run[0]])
    while told and not told[-1]:
        told.pop()
    return told


def style():
    light = "".join(f".{name}{{fill:{paper}}}" for name, (paper, _) in COLOURS.items())
    dark = "".join(f".{name}{{fill:{screen}}}" for name, (_, screen) in COLOURS.items())
    return (
        "text{font:14px ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;fill:#1f2328;white-space:pre}"
        ".bold{font-weight:600}.dim{fill:#6e7781}.paper{fill:#ffffff;stroke:#d0d7de}.bar{fill:#f6f8fa;stroke:#d0d7de}"
        f"{light}@media(prefers-color-scheme:dark){{text{{fill:#e6edf3}}.dim{{fill:#8b949e}}"
        f".paper{{fill:#0d1117;stroke:#30363d}}.bar{{fill:#161b22;stroke:#30363d}}{dark}}}"
    )


def svg(columns, command, told):
    width = round(columns * CELL + 2 * MARGIN)
    height = BAR + MARGIN + len(told) * LINE + MARGIN // 2
    print(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'role="img" aria-label="{html.escape(command)}">\n<style>{style()}</style>'
    )
    print(f'<rect class="paper" x="0.5" y="0.5" width="{width - 1}" height="{height - 1}" rx="8"/>')
    print(f'<path class="bar" d="M0.5 {BAR}V8.5a8 8 0 0 1 8-8H{width - 8.5}a8 8 0 0 1 8 8V{BAR}z"/>')
    print(f'<text x="{MARGIN}" y="20" class="dim">$ <tspan class="bold">{html.escape(command)}</tspan></text>')
    for number, runs in enumerate(told):
        y = BAR + MARGIN + number * LINE + LINE // 3
        column, spans = 0, []
        for text, name in runs:
            x = MARGIN + column * CELL
            column += len(text)
            if text.strip():
                # Each run at its own place and width, so that every font keeps the columns.
                spans.append(
                    f'<tspan x="{x:.1f}" textLength="{len(text) * CELL:.1f}"'
                    + (f' class="{name}"' if name else "")
                    + f">{html.escape(text)}</tspan>"
                )
        if spans:
            print(f'<text y="{y}" xml:space="preserve">{"".join(spans)}</text>')
    print("</svg>")


def main():
    columns, command = int(sys.argv[1]), sys.argv[2]
    told = lines(run(columns, command))
    home = os.environ.get("HOME", "")
    told = [[[text.replace(home, "~") if home else text, name] for text, name in runs] for runs in told]
    svg(columns, command, told)


main()
