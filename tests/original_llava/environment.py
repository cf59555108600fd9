"""Builds the virtual environment for the tests on the original LLaVA codebase: its package, its pins, this checkout.

    python tests/original_llava/environment.py [FOLDER]     # default: .venv-llava beside pyproject.toml

It needs Python 3.10 or 3.11, for which that old torch is built: the one that runs this, or python3.10 or python3.11 on
the path. Running this again does only what is missing. Prints the environment's Python on the last line.
"""

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LLAVA = "llava-torch==1.2.2.post1"
"""The codebase as a package. It pins gradio, bitsandbytes and more, which models do not need, so it comes alone."""
PACKAGES = (
    "torch==2.1.2",
    "transformers==4.37.2",
    "accelerate==0.21.0",
    "numpy<2",
    "sentencepiece",
    "protobuf",
    "requests",
)
"""What models need, by the pins of its repository; the package itself says torch 2.0.1 and transformers 4.36.2."""
STAMP = "scope-original-llava-tests.txt"


def main() -> int:
    """Build or complete the environment; the exit status."""
    if len(sys.argv) > 2 or (len(sys.argv) == 2 and sys.argv[1].startswith("-")):
        print(__doc__)
        return 2
    folder = Path(sys.argv[1]) if len(sys.argv) == 2 else ROOT / ".venv-llava"
    python = folder.absolute() / "bin" / "python"
    if not python.exists():
        run(old_python(), "-m", "venv", str(folder))
    stamp, wanted = folder / STAMP, fingerprint()
    if not stamp.exists() or stamp.read_text() != wanted:
        stamp.unlink(missing_ok=True)
        pip = (str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
        run(*pip, *PACKAGES, "pytest-timeout>=2.3", "-e", f"{ROOT}[kit]")
        run(*pip, "--no-deps", LLAVA)
        check(python)
        stamp.write_text(wanted)
    print(python)
    return 0


def fingerprint() -> str:
    """Changes when anything that decides what is installed does."""
    parts = [str(ROOT), (ROOT / "pyproject.toml").read_text(), Path(__file__).read_text()]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def old_python() -> str:
    """A Python for which torch 2.1.2 is built."""
    if sys.version_info[:2] in ((3, 10), (3, 11)):
        return sys.executable
    for name in ("python3.10", "python3.11"):
        found = shutil.which(name)
        if found and not subprocess.run((found, "-c", ""), capture_output=True, check=False).returncode:
            return found
    raise SystemExit("torch 2.1.2 needs Python 3.10 or 3.11: put python3.10 on the path, or run this with it")


def check(python: Path) -> None:
    """Nothing replaced what the codebase pins, and it imports."""
    code = "import torch, transformers, llava.model, scope_core; print(torch.__version__, transformers.__version__)"
    done = subprocess.run((str(python), "-c", code), capture_output=True, text=True, check=False)
    found = (done.stdout.splitlines() or [""])[-1].split()
    if done.returncode or [version.partition("+")[0] for version in found] != ["2.1.2", "4.37.2"]:
        raise SystemExit(f"the environment is not usable; expected torch 2.1.2 and transformers 4.37.2:\n"
                         f"{done.stdout}{done.stderr}")  # fmt: skip


def run(*command: str) -> None:
    """A command that has to succeed."""
    print(*command, file=sys.stderr, flush=True)
    done = subprocess.run(command, check=False)
    if done.returncode:
        raise SystemExit(f"failed with exit status {done.returncode}: {' '.join(command)}")


if __name__ == "__main__":
    sys.exit(main())
