"""The pictures of the README, made from a real run of ``seedance demo`` on the sandbox.

.venv/bin/python examples/pictures/make.py     # with the extra `dev`, and Chromium

``live.svg`` is a frame that the live display drew on a pseudo-terminal, ``gallery.webp`` the page as
Chromium shows it.
"""

from __future__ import annotations

import fcntl
import io
import os
import pty
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import termios
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright
from rich.console import Console
from rich.text import Text

HERE = Path(__file__).parent
COLUMNS, LINES = 80, 24
JOBS = 24
FRAME_BEGINS = re.compile(r"(?:\x1b\[2K(?:\x1b\[1A)?)+")
"""What rich writes before it draws a frame: it wipes the lines of the one before, the last one first."""


def main() -> None:
    """Make both pictures."""
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory) / "demo-out"
        frames = live_frames(folder)
        write_svg(frames[len(frames) * 3 // 5], HERE / "live.svg")
        write_page(folder / "gallery.html", HERE / "gallery.webp")


def live_frames(folder: Path) -> list[str]:
    """Run the demo on a terminal of its own; every frame that it draws, with its colours."""
    terminal, child_terminal = pty.openpty()
    fcntl.ioctl(child_terminal, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
    command = [sys.executable, "-m", "seedance_async", "demo", "--jobs", str(JOBS), "-o", folder.name]
    variables = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor"}
    with subprocess.Popen(
        command,
        cwd=folder.parent,
        env=variables,
        stdin=child_terminal,
        stdout=child_terminal,
        stderr=child_terminal,
    ) as process:
        os.close(child_terminal)
        drawn = read_all(terminal).replace("\r", "")
    if process.returncode:
        raise SystemExit(drawn)
    return [frame for frame in FRAME_BEGINS.split(drawn) if "accepted" in frame]


def read_all(terminal: int) -> str:
    """What was written to a terminal until its last writer closed it."""
    said = io.BytesIO()
    try:
        while part := os.read(terminal, 65536):
            said.write(part)
    except OSError:  # Linux reports the end so
        pass
    return said.getvalue().decode()


def write_svg(frame: str, path: Path) -> None:
    """Draw a frame as text: it stays sharp at any size."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    console.print(Text.from_ansi(frame.strip("\n")), no_wrap=True)
    drawing = console.export_svg(title="seedance demo", unique_id="live")
    without_fonts = re.sub(
        r"@font-face \{.*?\}", "", drawing, flags=re.DOTALL
    )  # they would come from another host
    lines = (line.rstrip() for line in without_fonts.splitlines())
    path.write_text("\n".join(line for line in lines if line) + "\n", encoding="utf-8")


def write_page(page: Path, path: Path) -> None:
    """Photograph the top of a page."""
    chromium = shutil.which("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": 1500, "height": 1150}, device_scale_factor=0.8)
        tab.goto(page.as_uri())
        tab.wait_for_timeout(2000)  # for the first frames of the clips
        shot = tab.screenshot()
        browser.close()
    Image.open(io.BytesIO(shot)).save(path, quality=80, method=6)


if __name__ == "__main__":
    main()
