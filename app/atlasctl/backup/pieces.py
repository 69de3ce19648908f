"""A database's file in pieces: of what is stored every few minutes only those that changed are new.

restic cuts files where their contents say, into pieces of a megabyte or so: a row changed here and there in
each of them would make nearly all of it new.
"""

import shutil
from itertools import count
from pathlib import Path

BYTES = 64 * 1024
IN_A_DIRECTORY = 64
ENDING = ".pieces"


def split(path: Path) -> None:
    """Replace a file by a directory of its pieces."""
    top = path.with_name(path.name + ENDING)
    with path.open("rb") as file:
        for number in count():
            piece = file.read(BYTES)
            if not piece:
                break
            place = top / f"{number // IN_A_DIRECTORY:06}" / f"{number:09}"
            if number % IN_A_DIRECTORY == 0:
                place.parent.mkdir(parents=True)
            place.write_bytes(piece)
    path.unlink()


def join(directory: Path) -> None:
    """Put together again what is in pieces in a directory; it takes hardly more room than these."""
    for top in sorted(directory.glob(f"*{ENDING}")):
        with top.with_name(top.name.removesuffix(ENDING)).open("xb") as file:
            for place in sorted(top.glob("*/*")):
                file.write(place.read_bytes())
                place.unlink()
        shutil.rmtree(top)
