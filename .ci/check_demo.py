"""Look at what the demo left: every clip decodes, every picture opens, the gallery names them all."""

from __future__ import annotations

import sys
from pathlib import Path
from urllib.parse import quote

import av
from PIL import Image

MOST_SECONDS_OFF = 0.25  # a clip may end within its last frame


def main(folder: Path) -> None:
    """Check a directory; raises on the first thing that is wrong."""
    gallery = (folder / "gallery.html").read_text("utf-8")
    clips, pictures = sorted(folder.glob("*.mp4")), sorted([*folder.glob("*.png"), *folder.glob("*.jpg")])
    assert clips, "the demo left no clips"
    assert pictures, "the demo left no pictures"
    assert not list(folder.rglob("*.part")), "the demo left unfinished files"
    for clip in clips:
        check_clip(clip)
    for picture in pictures:
        with Image.open(picture) as image:
            image.load()
            assert min(image.size) >= 256, f"{picture} is {image.size}"
    for file in clips:
        assert file.name in gallery or quote(file.name) in gallery, f"the gallery does not name {file.name}"
    print(f"{len(clips)} clips decode, {len(pictures)} pictures open, the gallery names them")


def check_clip(clip: Path) -> None:
    """Decode every frame of picture and sound."""
    with av.open(clip) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "h264", f"{clip}: {stream.codec_context.name}"
        frames = sum(1 for _ in container.decode(video=0))
        promised = float(stream.duration * stream.time_base) if stream.duration and stream.time_base else 0.0
        rate = float(stream.average_rate or 0)
        assert rate > 0, f"{clip} has no frame rate"
        assert abs(frames / rate - promised) < MOST_SECONDS_OFF, f"{clip}: {frames} frames for {promised} s"
    with av.open(clip) as container:
        if container.streams.audio:
            assert container.streams.audio[0].codec_context.name == "aac"
            assert sum(1 for _ in container.decode(audio=0)) > 0, f"{clip} is silent"


if __name__ == "__main__":
    main(Path(sys.argv[1]))
