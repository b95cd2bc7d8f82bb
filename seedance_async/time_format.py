"""The text form of durations. Pure."""

from __future__ import annotations


def format_speed(speed: float) -> str:
    """What is said of a time that passed ``speed`` times as fast as at the vendor; nothing of a real one."""
    return "" if speed == 1 else f", in a sandbox {speed:.4g} times as fast"


def format_seconds(seconds: float) -> str:
    """``9.4 s`` below a minute, then ``3:07`` or ``1:02:07``."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def format_range(low: float, high: float) -> str:
    """A range of seconds in one unit, with few digits, such as ``1.7 to 8.1 min``."""
    unit, length = ("h", 3600) if high >= 5400 else ("min", 60) if high >= 90 else ("s", 1)
    first, last = (f"{value / length:.{0 if value >= 10 * length else 1}f}" for value in (low, high))
    return f"{first} {unit}" if first == last else f"{first} to {last} {unit}"
