"""Folders that are built once, whole or not at all.

A folder is built beside its final place and moved there in one step, so that two processes may build it at once and
none sees half of it. A list of its files with their sizes and checksums is written last: what was damaged since is
found, and built anew.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import tempfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

LIST: Final = "index.json"
"""The file that lists the others."""


def ensure_folder(parent: Path, name: str, write: Callable[[Path], Mapping[str, object]]) -> Path:
    """Return the folder `parent/name`, building it first where it is missing or broken.

    Args:
        parent: where such folders lie; created where missing.
        name: the folder's name: whatever shapes its content belongs into it.
        write: writes the files into the folder in the making, and returns what the list tells beside them.

    Raises:
        Whatever `write` raises; nothing is left behind then.
    """
    final = parent / name
    if _is_whole(final):
        return final
    parent.mkdir(parents=True, exist_ok=True)
    around = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=parent))
    making = around / "index"  # a folder of its own, because the one around it is closed to other users
    try:
        making.mkdir()
        about = write(making)
        written = sorted(path for path in making.rglob("*") if path.is_file())
        files = {str(path.relative_to(making)): _fingerprint(path) for path in written}
        (making / LIST).write_text(json.dumps({**about, "files": files}))
        _move_into_place(making, final)
    finally:
        shutil.rmtree(around, ignore_errors=True)
    return final


def _is_whole(folder: Path) -> bool:
    """Whether every file is there, with the bytes that were written."""
    try:
        written = json.loads((folder / LIST).read_text())["files"]
        return all(_fingerprint(folder / name) == fingerprint for name, fingerprint in written.items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def _fingerprint(path: Path) -> list[int]:
    """Size and CRC-32 of a file: not against forgery, but against broken disks, copies and hands."""
    crc = 0
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            crc = zlib.crc32(block, crc)
        return [stream.tell(), crc]


def _move_into_place(making: Path, final: Path) -> None:
    """Rename the finished folder. Where another process was faster its folder stays; a broken one is replaced.

    Processes do this one after the other, under a lock on the parent folder: none takes another's whole one away.
    """
    parent = os.open(final.parent, os.O_RDONLY)
    try:
        fcntl.flock(parent, fcntl.LOCK_EX)
        if _is_whole(final):
            return
        if final.exists():
            final.rename(making.with_name("broken"))  # goes when the folder around the one in the making goes
        making.rename(final)
    finally:
        os.close(parent)
