"""What a figure was measured on: printed above every table."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path


def describe(*packages: str) -> str:
    """Machine, Python, commit and the versions of the packages that matter, in one line each."""
    lines = [
        f"machine   {_processor()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}",
        f"python    {platform.python_version()} on {platform.system()} {platform.release()}",
        f"commit    {_commit()}",
        f"versions  {', '.join(f'{name} {version(name)}' for name in packages)}",
    ]
    return "\n".join(lines)


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor() or "unknown"
    names = [line.split(":", 1)[1].strip() for line in text.splitlines() if line.startswith("model name")]
    return names[0] if names else "unknown"


def _commit() -> str:
    head, status = _git("rev-parse", "--short", "HEAD"), _git("status", "--porcelain")
    return f"{head} with changes" if status else head or "unknown"


def _git(*arguments: str) -> str:
    try:
        command = ["git", *arguments]
        return subprocess.run(
            command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""
