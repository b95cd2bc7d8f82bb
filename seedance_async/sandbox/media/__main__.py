"""The generator of the files that are used where Pillow or PyAV is missing.

Run as ``python -m seedance_async.sandbox.media``; the files are package data and are kept in the repository.
"""

from __future__ import annotations

from pathlib import Path

from seedance_async.sandbox.media import clip, picture

PROMPT = "pip install Pillow av and see your own prompt here"

fallback: Path = Path(__file__).with_name("fallback")
fallback.mkdir(exist_ok=True)
(fallback / "clip.mp4").write_bytes(clip(256, 144, 4, PROMPT))
(fallback / "picture.png").write_bytes(picture(160, 160, "png", PROMPT))
(fallback / "picture.jpeg").write_bytes(picture(160, 160, "jpeg", PROMPT))
