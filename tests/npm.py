"""Programs of Node whose packages are installed as a lock has them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

NEEDED = (".npmrc", "package.json", "package-lock.json")


def installed(program: Path, folder: Path) -> Path:
    """Return a program, in a folder with its packages; they are installed anew where the lock has changed.

    Args:
        program: it stands beside its lock.
        folder: for program and packages.

    Raises:
        CalledProcessError: npm could not install them.

    """
    lock, done = program.with_name("package-lock.json"), folder / "installed.json"
    folder.mkdir(parents=True, exist_ok=True)
    if not done.is_file() or done.read_bytes() != lock.read_bytes():
        for name in NEEDED:
            shutil.copy(program.with_name(name), folder / name)
        subprocess.run(["npm", "ci", "--ignore-scripts"], cwd=folder, check=True, stdout=subprocess.DEVNULL)
        shutil.copy(lock, done)
    return Path(shutil.copy(program, folder / program.name))
