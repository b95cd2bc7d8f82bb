"""The wheel and the sdist hold what they should, and a clean environment of the wheel alone makes a request.

    python .ci/check_package.py [INTERPRETER…]

Each interpreter gets an environment with the wheel and no extra; without arguments, this one and every later
``python3.N`` on the PATH or among the versions of pyenv.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
MOST_BYTES = 1_200_000
DATA = {
    "batch/clipboard.js", "batch/gallery.css", "batch/gallery.js", "py.typed", "review/page.css",
    "review/page.html", "review/page.js", "sandbox/openapi.json", "skill/SKILL.md",
}  # fmt: skip
IN_SDIST = {
    "CHANGELOG.md", "LICENSE", "PKG-INFO", "README.md", "SECURITY.md", "benchmarks", "examples",
    "pyproject.toml", "seedance_async", "tests", ".gitignore",
}  # fmt: skip
TRY = """
import sys, seedance_async
assert "aiohttp" not in sys.modules and "site-packages" in seedance_async.__file__, seedance_async.__file__
print(sys.version.split()[0], seedance_async.Seedance2Video(prompt="A kite"), seedance_async.SeedanceClient)
"""


def main(interpreters: list[str]) -> None:
    """Build both, look into them, and install the wheel."""
    with tempfile.TemporaryDirectory() as directory:
        subprocess.run([sys.executable, "-m", "hatchling", "build", "-d", directory], cwd=ROOT, check=True)
        (wheel,), (sdist,) = Path(directory).glob("*.whl"), Path(directory).glob("*.tar.gz")
        check_wheel(wheel)
        check_sdist(sdist)
        for place, interpreter in enumerate(interpreters or found()):
            environment = Path(directory) / str(place)
            subprocess.run([interpreter, "-m", "venv", environment], check=True)
            python = environment / "bin" / "python"
            subprocess.run([python, "-m", "pip", "install", "-q", wheel], check=True)
            subprocess.run([python, "-c", TRY], cwd=directory, check=True)


def check_wheel(wheel: Path) -> None:
    """The package and its data, and nothing else."""
    names = zipfile.ZipFile(wheel).namelist()
    own = {name.removeprefix("seedance_async/") for name in names if name.startswith("seedance_async/")}
    others = [name for name in names if not name.startswith(("seedance_async/", "seedance_async-"))]
    assert not others, others
    assert {name for name in own if not name.endswith(".py")} == DATA, own
    assert wheel.stat().st_size < MOST_BYTES, wheel.stat().st_size
    print(f"{wheel.name}: {len(names)} files, {wheel.stat().st_size:,} bytes")


def check_sdist(sdist: Path) -> None:
    """What the README says is in the repository."""
    with tarfile.open(sdist) as archive:
        names = archive.getnames()
    top = {Path(name).parts[1] for name in names if len(Path(name).parts) > 1}
    assert top == IN_SDIST, top ^ IN_SDIST
    assert not [name for name in names if "__pycache__" in name or name.endswith((".sqlite", ".pyc"))]
    print(f"{sdist.name}: {len(names)} files, {sdist.stat().st_size:,} bytes")


def found() -> list[str]:
    """This interpreter, and of every later version the first one that runs."""
    later = (first_that_runs(f"python3.{minor}") for minor in range(sys.version_info.minor + 1, 20))
    return [sys.executable, *filter(None, later)]


def first_that_runs(name: str) -> str | None:
    """The interpreter of this name on the PATH, else one of pyenv's: its shims may be there and not run."""
    versions = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    for each in [shutil.which(name), *sorted(versions.glob(f"*/bin/{name}"))]:
        if each and subprocess.run([each, "-c", ""], stderr=subprocess.DEVNULL, check=False).returncode == 0:
            return str(each)
    return None


if __name__ == "__main__":
    main(sys.argv[1:])
