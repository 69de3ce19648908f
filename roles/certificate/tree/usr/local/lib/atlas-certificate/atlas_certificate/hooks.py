"""Telling those who use the certificate that there is a new one."""

import os
import subprocess
from pathlib import Path

from atlas_certificate import store

SECONDS = 120.0


def untold(home: Path) -> bool:
    """Say whether somebody has not been told of the certificate in use."""
    return (home / store.UNTOLD).exists()


def tell(home: Path, hooks: Path) -> tuple[list[str], list[str]]:
    """Run every program in the hooks' directory; return what was told, and what failed.

    When something failed, the next run tells all of them again: what is wrong with a server, its own role may
    put right after this.
    """
    told, failed = [], []
    for hook in sorted(hooks.glob("*")):
        if not os.access(hook, os.X_OK):
            continue
        done = subprocess.run(
            [str(hook)],
            check=False,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=SECONDS,
        )
        told.append(f"told {hook.name}")
        if done.returncode != 0:
            failed.append(f"{hook}: {done.stdout.strip() or f'exit code {done.returncode}'}")
    if not failed:
        (home / store.UNTOLD).unlink(missing_ok=True)
    return told, failed
