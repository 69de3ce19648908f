"""Resolve requirements/*.in into *.txt: every package with its version and hashes, for every Python."""

from __future__ import annotations

import subprocess

import engine

UV = str(engine.ROOT / ".venv" / "bin" / "uv")
OPTIONS = (
    "--upgrade",
    "--universal",
    "--python-version=3.11",
    "--generate-hashes",
    "--no-emit-index-url",
    "--no-header",
)
# The tools share an environment with the app, so they take its versions; of `ansible` only the wheel matters.
EXTRA = {
    "app": [],
    "dev": ["--constraint=requirements/app.txt"],
    "oci": ["--constraint=requirements/dev.txt"],
    "collections": ["--no-deps"],
    "judges": [],
}


def main() -> None:
    """Resolve each file anew, to the newest versions its ranges allow."""
    for name, extra in EXTRA.items():
        command = [UV, "pip", "compile", "--quiet", *OPTIONS, *extra]
        command += [f"--output-file=requirements/{name}.txt", f"requirements/{name}.in"]
        subprocess.run(command, cwd=engine.ROOT, check=True)


if __name__ == "__main__":
    main()
