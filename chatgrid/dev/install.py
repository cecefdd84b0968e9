"""Makes the virtual environment and installs a hashed list into it: `python -I install.py ENVIRONMENT LIST`.

Run by make with the machine's own Python, before anything is installed: standard library only.

- pip's configuration (index, certificates, wheels on disk) is honoured. uv, three times as fast, does not read it, so
  what it says is handed over; where uv fails, pip itself installs the same list.
- uv comes from `uv.txt` beside this file, pinned and hashed like everything else.
- A Debian without python3-venv makes an environment without pip; then the machine's pip, or its uv, fills it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

UV_LIST = Path(__file__).with_name("uv.txt")

# pip's words for where packages come from, and uv's. What stands here for nothing is left to pip.
UV_VARIABLES = {
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "find-links": "UV_FIND_LINKS",
    "cert": "SSL_CERT_FILE",
    "proxy": "ALL_PROXY",
    "trusted-host": "UV_INSECURE_HOST",
    "no-index": "UV_NO_INDEX",
}
SEPARATED_BY_COMMA = {"UV_FIND_LINKS"}

HELP = (
    "No pip could be put into {place}. On Debian or Ubuntu run `apt-get install python3-venv`, then make again; "
    "elsewhere install Python from python.org."
)


def main(place: Path, listed: Path) -> int:
    python = place / "bin" / "python"
    if not works(python):
        make_environment(place)
    if not fill_with_pip(python):
        return without_pip(python, listed)
    if install_with_uv(python, listed):
        return 0
    print("uv could not install the packages; pip does it, which takes longer.", flush=True)
    return run([str(python), "-m", "pip", "install", "--quiet", "--require-hashes", "-r", str(listed)])


def works(python: Path) -> bool:
    """Whether there is an environment whose Python still runs: an upgrade of the machine may have taken it away."""
    return python.exists() and quiet([str(python), "-c", "import sys; sys.exit(sys.version_info < (3, 11))"])


def make_environment(place: Path) -> None:
    """With pip where this Python can, else without."""
    shutil.rmtree(place, ignore_errors=True)
    if not quiet([sys.executable, "-I", "-m", "venv", str(place)]):
        venv.create(place, clear=True, with_pip=False, symlinks=True)


def fill_with_pip(python: Path) -> bool:
    """Whether the environment has pip, if need be put there by the machine's own."""
    if quiet([str(python), "-m", "pip", "--version"]):
        return True
    return quiet([sys.executable, "-m", "pip", "--python", str(python), "install", "pip"])


def without_pip(python: Path, listed: Path) -> int:
    """The last way: a uv that is installed on the machine."""
    uv = shutil.which("uv")
    if uv is None:
        print(HELP.format(place=python.parent.parent), file=sys.stderr)
        return 1
    return run(uv_command([uv], python, listed))


def install_with_uv(python: Path, listed: Path) -> bool:
    """Whether uv installed the list, uv itself coming from its own hashed list."""
    pip = [str(python), "-m", "pip", "install", "--quiet", "--only-binary=:all:", "--require-hashes"]
    if not quiet([*pip, "-r", str(UV_LIST)]):
        return False
    environment = {**uv_settings(pip_settings(python)), **os.environ}
    return run(uv_command([str(python), "-m", "uv"], python, listed), environment) == 0


def uv_command(uv: list[str], python: Path, listed: Path) -> list[str]:
    options = ["--quiet", "--require-hashes", "--index-strategy", "unsafe-best-match"]  # as pip does; hashes decide
    return [*uv, "pip", "install", *options, "--python", str(python), "-r", str(listed)]


def pip_settings(python: Path) -> dict[str, str]:
    """What pip's configuration says, as {"index-url": "..."}: files first, then `install`, then the environment."""
    command = [str(python), "-m", "pip", "config", "list"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    pairs = [line.split("=", 1) for line in done.stdout.splitlines() if "=" in line]
    found = [(*name.rsplit(".", 1), value.strip("'\"")) for name, value in pairs]
    order = ["global", "install", ":env:"]
    known = sorted((entry for entry in found if entry[0] in order), key=lambda entry: order.index(entry[0]))
    return {name: value for _, name, value in known}


def uv_settings(settings: dict[str, str]) -> dict[str, str]:
    """The same in uv's variables. Ours come below those that the person set for uv themselves."""
    given = {UV_VARIABLES[name]: value for name, value in settings.items() if name in UV_VARIABLES}
    return {name: listed_for(name, value) for name, value in given.items()}


def listed_for(variable: str, value: str) -> str:
    """pip separates entries by blanks or line ends (shown as a backslash and n), uv by blanks or commas."""
    entries = value.replace("\\n", " ").split()
    return ("," if variable in SEPARATED_BY_COMMA else " ").join(entries)


def quiet(command: list[str]) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def run(command: list[str], environment: dict[str, str] | None = None) -> int:
    return subprocess.run(command, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]).absolute(), Path(sys.argv[2]).absolute()))
