#!/usr/bin/env python3
"""Records a session at a terminal: docs/session.cast, .svg and .md.

Everything that is shown is what the program printed: a server is started in a
temporary directory, and a shell in a pseudo-terminal is typed into. It needs
bin/errand (make build) and nothing but Python's standard library.
"""

import codecs
import fcntl
import html
import json
import os
import pathlib
import pty
import re
import select
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import termios
import time
import unicodedata

ROOT = pathlib.Path(__file__).resolve().parent.parent
COLS, ROWS = 100, 28
PROMPT = "\x1b[1;32m$\x1b[0m "

# What is typed, and for how long it may be looked at afterwards.
SESSION = [
    ("errand login < data/credentials", 1.5),
    ("errand instance list", 2),
    ("errand submit EXTEND --instance redis-sessions --param new_capacity=8 --watch", 2.5),
    ("A=$(errand submit rabbitmqPluginModify --instance rabbitmq-mail --param enable:=true --param plugins=rabbitmq_shovel -o name)", 0.5),
    ("B=$(errand submit rabbitmqPluginModify --instance rabbitmq-mail --param enable:=false --param plugins=rabbitmq_top -o name)", 0.5),
    ("errand why $B", 2.5),
    ("errand cancel $B --reason 'the plug-in is needed'", 1.5),
    ("T=$(errand submit reportTopics --instance kafka-orders --param prefix=orders --param topics:=4 -o name)", 0.3),
    ("errand log -f $T", 1.5),
    ("errand list --limit 5", 2.5),
    ("errand list --instance redis-session", 2),
    ("errand export --instance redis-sessions -f sessions.json", 2),
]

# The picture is of the moment at which this is on the screen.
STILL = re.compile(r"2/3 migrate")


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def prepare(home):
    """Starts a server with the demo's instances and records."""
    (home / "data").mkdir()
    shutil.copytree(ROOT / "internal/cli/demo/operations.d", home / "operations.d")
    for f in (home / "operations.d").glob("*.yaml"):  # a recording takes no chances
        f.write_text(re.sub(r"fail_rate: [\d.]+", "fail_rate: 0", f.read_text()))
    url = f"http://127.0.0.1:{free_port()}"
    server = subprocess.Popen(
        [ROOT / "bin/errand", "serve", "--db", "sqlite:data/errand.db", "--listen", url[7:], "--operations", "operations.d", "--drain-timeout", "0s", "--log-level", "error"],
        cwd=home, stdout=subprocess.PIPE, text=True)
    for line in server.stdout:
        if line == "ready\n":
            break
    env = dict(line.split("=", 1) for line in (home / "data/credentials").read_text().split())
    env |= {"ERRAND_SERVER": url, "PATH": os.environ["PATH"], "HOME": str(home)}
    for uuid, name, engine in [
            ("b6d2a1f0-3c47-4e8b-9a15-7f04c2d8e361", "kafka-orders", "kafka"),
            ("c85d30b7-f216-4a9e-8e4d-06b9a7c1f532", "rabbitmq-mail", "rabbitmq"),
            ("5560df16-cebf-4473-95c4-d1b573c16e79", "redis-sessions", "redis")]:
        for args in [["instance", "add", "--id", uuid, "--name", name, "--engine", engine],
                     ["import", "--instance", uuid, ROOT / f"internal/cli/demo/{engine}.json"]]:
            subprocess.run([ROOT / "bin/errand", *args], env=env, check=True, stdout=subprocess.DEVNULL)
    return server, url


class Recording:
    """A shell in a pseudo-terminal, and what comes from it with its times."""

    def __init__(self, home, url):
        env = {"PATH": f"{ROOT / 'bin'}:{os.environ['PATH']}", "HOME": str(home), "TERM": "xterm-256color", "LANG": "C.UTF-8", "PS1": PROMPT, "ERRAND_SERVER": url}
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.chdir(home)
            os.execvpe("bash", ["bash", "--norc", "--noprofile", "--noediting"], env)
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLS, 0, 0))
        self.decoder = codecs.getincrementaldecoder("utf-8")()
        self.events, self.text, self.start = [], "", time.monotonic()

    def read(self, seconds):
        """Takes what comes within some time."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if not select.select([self.fd], [], [], left)[0]:
                return
            part = self.decoder.decode(os.read(self.fd, 65536))
            if part:
                self.events.append((round(time.monotonic() - self.start, 3), "o", part))
                self.text += part

    def prompt(self):
        """Waits until the shell asks for the next line."""
        end = time.monotonic() + 60
        while not self.text.endswith(PROMPT):
            if time.monotonic() > end:
                sys.exit("the shell does not come back: " + self.text[-500:])
            self.read(0.05)

    def type(self, line):
        for c in line:
            os.write(self.fd, c.encode())
            self.read(0.02)
        os.write(self.fd, b"\n")
        self.text = ""
        self.read(0.1)


class Screen:
    """As much of a terminal as the program and the shell use."""

    def __init__(self):
        self.lines, self.row, self.col, self.style = [[]], 0, 0, ""

    def put(self, c):
        width = 2 if unicodedata.east_asian_width(c) in "WF" else 1
        if self.col + width > COLS:
            self.down()
            self.col = 0
        line = self.lines[self.row]
        line += [(" ", "")] * (self.col + width - len(line))
        line[self.col] = (c, self.style)
        self.col += width

    def down(self):
        self.row += 1
        if self.row == len(self.lines):
            self.lines.append([])

    def feed(self, text):
        for m in re.finditer(r"\x1b\[([?\d;]*)([A-Za-z])|\x1b.|[\s\S]", text):
            c, args, word = m.group(0), m.group(1), m.group(2)
            if word == "m":
                self.style = "" if args in ("", "0") else args
            elif word == "A":
                self.row = max(0, self.row - int(args or 1))
            elif word == "J":
                del self.lines[self.row][self.col:], self.lines[self.row + 1:]
            elif word == "K":
                del self.lines[self.row][self.col:]
            elif c == "\r":
                self.col = 0
            elif c == "\n":
                self.down()
            elif c >= " " and not c.startswith("\x1b"):
                self.put(c)

    def plain(self):
        return ["".join(c for c, _ in line).rstrip() for line in self.lines]


def svg(lines):
    """Draws the end of a screen."""
    colours = {"31": "#e5534b", "32": "#57ab5a", "33": "#c69026", "36": "#39c5cf"}
    lines = lines[-ROWS:]
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {COLS * 8.4 + 32:.0f} {len(lines) * 18 + 28}" role="img" aria-label="A session of errand at a terminal">',
           '<rect width="100%" height="100%" rx="6" fill="#1c2128"/>',
           '<g font-family="ui-monospace,Menlo,Consolas,monospace" font-size="14" fill="#cdd9e5" xml:space="preserve" style="white-space:pre">']
    for n, line in enumerate(lines):
        col = 0
        while col < len(line):
            style, begin = line[col][1], col
            while col < len(line) and line[col][1] == style:
                col += 1
            text = "".join(c for c, _ in line[begin:col])
            if not text.strip():
                continue
            codes = style.split(";")
            look = "".join(f' fill="{colours[c]}"' for c in codes if c in colours) + (' font-weight="bold"' if "1" in codes else "")
            out.append(f'<text x="{16 + begin * 8.4:.1f}" y="{n * 18 + 28}" textLength="{len(text) * 8.4:.1f}"{look}>{html.escape(text).replace(" ", "&#160;")}</text>')
    return "\n".join(out + ["</g>", "</svg>", ""])


def write(events):
    docs = ROOT / "docs"
    head = {"version": 2, "width": COLS, "height": ROWS, "title": "errand at the command line", "env": {"TERM": "xterm-256color", "SHELL": "/bin/bash"}}
    docs.joinpath("session.cast").write_text("".join(json.dumps(e, ensure_ascii=False) + "\n" for e in [head, *events]))
    screen, still = Screen(), None
    for _, _, part in events:
        screen.feed(part)
        if still is None and STILL.search("\n".join(screen.plain())):
            still = svg(screen.lines)
    docs.joinpath("session.svg").write_text(still or svg(screen.lines))
    docs.joinpath("session.md").write_text(
        "# A session\n\n![The session, while a task runs](session.svg)\n\n"
        "Recorded by `make session` against a real server; `asciinema play docs/session.cast` plays it. As text, where a bar\n"
        "is as it was at its end:\n\n```console\n" + "\n".join(screen.plain()).rstrip().removesuffix("$").rstrip() + "\n```\n\n"
        "What the commands do is in [cli.md](cli.md).\n")


def main():
    home = pathlib.Path(tempfile.mkdtemp(prefix="errand-session-"))
    server, url = prepare(home)
    try:
        r = Recording(home, url)
        r.prompt()
        for line, look in SESSION:
            r.type(line)
            r.prompt()
            r.read(look)
        os.close(r.fd)
        os.waitpid(r.pid, 0)
    finally:
        server.terminate()
        server.wait()
        shutil.rmtree(home)
    if r.events[-1][0] > 90:
        sys.exit(f"the session takes {r.events[-1][0]:.0f} s, more than 90")
    # Where the recording had its home says nothing to anybody.
    write([[at, kind, part.replace(str(home), "~")] for at, kind, part in r.events])


if __name__ == "__main__":
    main()
