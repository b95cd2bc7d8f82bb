"""Bake the files that stand in where Pillow or PyAV is missing.

Run as ``python -m seedance_async.sandbox.media``; the files are package data and belong into the repository.
"""

from __future__ import annotations

from pathlib import Path

from seedance_async.sandbox.media import clip, picture

PROMPT = "Install seedance-async[sandbox] to see your own prompt here"

baked: Path = Path(__file__).with_name("baked")
baked.mkdir(exist_ok=True)
(baked / "clip.mp4").write_bytes(clip(256, 144, 4, PROMPT))
(baked / "picture.png").write_bytes(picture(160, 160, "png", PROMPT))
(baked / "picture.jpeg").write_bytes(picture(160, 160, "jpeg", PROMPT))
