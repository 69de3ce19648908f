"""Building a release: its ID, its virtual environment, its code, and the marker that says it is whole."""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from atlasctl.files import MAKE_ROOM, write, write_json
from atlasctl.paths import Paths
from atlasctl.run import Result, run
from atlasctl.trouble import Trouble
from atlasctl.words import exact_now

FREE_BYTES = 500_000_000
INSTALL_SECONDS = 900
COMPILE_SECONDS = 300
LAUNCHER = """\
#!{python} -P
# The `atlas` command of this release, with this release's packages.
import runpy

runpy.run_module("atlas", run_name="__main__", alter_sys=True)
"""


class Blueprint(NamedTuple):
    """What a release is built from: the same source on the same Python is the same release."""

    id: str
    python: str
    version: str
    files: list[tuple[str, Path]]


def identify(source: Path, python: str) -> Blueprint:
    """Look at a source and return what would be built from it; raises Trouble when that is not possible."""
    if not (source / "app").is_dir() or not (source / "requirements.txt").is_file():
        raise Trouble(f"{source} is no source of a release: app/ or requirements.txt is missing.")
    said = run([python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"], timeout=20)
    if said.code != 0:
        raise Trouble(f"Python does not run ({said.words}). Another one: --python /usr/bin/python3")
    version = said.out.strip()
    files = _files(source)
    digest = hashlib.sha256(f"python {version}\n".encode())
    for name, path in files:
        content = path.read_bytes()
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    return Blueprint(digest.hexdigest()[:12], python, version, files)


def _files(source: Path) -> list[tuple[str, Path]]:
    """Return what makes a release, sorted by relative name, without bytecode."""
    found = {"requirements.txt": source / "requirements.txt"}
    for directory, folders, names in os.walk(source / "app"):
        folders[:] = [folder for folder in folders if folder != "__pycache__"]
        for path in (Path(directory, name) for name in folders + names):
            if path.is_symlink():
                raise Trouble(f"{path} is a symbolic link; a release holds plain files only.")
            if path.suffix != ".pyc" and path.is_file():
                found[path.relative_to(source).as_posix()] = path
    return sorted(found.items())


def damage(release: Path, blueprint: Blueprint) -> str:
    """Return which part of a finished release is not what was built, empty when it is whole."""
    try:
        there, wanted = dict(_files(release)), dict(blueprint.files)
        for name in sorted(there.keys() | wanted.keys()):
            if name not in there or name not in wanted or not _same(there[name], wanted[name]):
                return name
        if (release / "bin/atlas").read_text(encoding="utf-8") != _launcher(release):
            return "bin/atlas"
    except (Trouble, OSError, ValueError) as error:
        return f"the code ({error})"
    said = run([str(release / "venv/bin/python"), "-P", "-c", "import atlas"], timeout=20, cwd=Path("/"))
    return f"venv ({said.words})" if said.code != 0 else ""


def _same(one: Path, other: Path) -> bool:
    return one.is_file() and one.read_bytes() == other.read_bytes()


def _launcher(release: Path) -> str:
    return LAUNCHER.format(python=release / "venv/bin/python")


def build(paths: Paths, root: Path, blueprint: Blueprint) -> None:
    """Build releases/ID beside what may be there, damaged or half built, then put it in its place.

    Raises Trouble with the builder's own words; without FINISHED the directory is built again next time.
    """
    target = root / "releases" / blueprint.id
    beside, old = (target.with_name(f"{blueprint.id}.{end}") for end in ("new", "old"))
    (target / "FINISHED").unlink(missing_ok=True)
    _need_space(root)
    os.umask(0o022)  # everybody may read a release, only root may change it
    for rubble in (beside, old):
        if rubble.exists():
            shutil.rmtree(rubble)
    for name, path in blueprint.files:
        copy = beside / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
    _install(paths, beside, blueprint)
    site = beside / "venv/lib" / f"python{blueprint.version}" / "site-packages"
    (site / "atlas.pth").write_text("../../../../app\n", encoding="utf-8")
    write(beside / "bin/atlas", _launcher(target), mode=0o755)
    _compile(beside, site)
    _say_where(beside, target)
    if target.exists():  # it may be running: until here it could read its files
        if (target / "SERVED").is_file():
            shutil.copyfile(target / "SERVED", beside / "SERVED")
        target.rename(old)
    beside.rename(target)
    os.sync()  # the marker must not outlive the files it speaks for
    write_json(target / "FINISHED", {"id": blueprint.id, "at": exact_now(), "python": blueprint.version})
    if old.exists():
        shutil.rmtree(old)


def _say_where(beside: Path, target: Path) -> None:
    """Let the scripts of a virtual environment name the place it will stand in."""
    for path in [beside / "venv/pyvenv.cfg", *(beside / "venv/bin").iterdir()]:
        if path.is_file() and not path.is_symlink():
            content = path.read_bytes()
            path.write_bytes(content.replace(bytes(beside), bytes(target)))


def _need_space(root: Path) -> None:
    root.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(root).free
    if free < FREE_BYTES:
        need = f"only {free / 1e6:.0f} MB are free on {root}, a release needs {FREE_BYTES / 1e6:.0f}"
        raise Trouble(f"{need}. What helps: {MAKE_ROOM}")


def _install(paths: Paths, target: Path, blueprint: Blueprint) -> None:
    """Install exactly the pinned packages into a new virtual environment, with the pip of another one.

    Pip stays out of releases: nothing installs into a finished one, and a new pip each time costs seconds.
    The packages of the last release are kept: one with the same is built without a network, and in less time.
    """
    ours = ("PYTHON", "VIRTUAL_ENV", "PIP_REQUIRE", "PIP_TARGET", "PIP_USER")
    environment = {key: value for key, value in os.environ.items() if not key.startswith(ours)}
    environment |= {
        "PIP_CACHE_DIR": str(paths.pip_cache),
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_NO_INPUT": "1",
        "PIP_ROOT_USER_ACTION": "ignore",
    }
    paths.pip_cache.mkdir(parents=True, exist_ok=True)
    tool = paths.pip_tool / blueprint.version
    _ensure_pip(tool, blueprint.python, environment)
    pip = [str(tool / "bin/python"), "-m", "pip", "--python", str(target / "venv/bin/python")]
    wheels = paths.pip_cache / f"wheels-{blueprint.version}"
    pinned = ["--quiet", "--require-hashes", "--no-deps", "-r", str(target / "requirements.txt")]
    install = [*pip, "install", "--no-compile", "--no-index", f"--find-links={wheels}", *pinned]

    def do(complaint: str, command: list[str]) -> None:
        result = run(command, timeout=INSTALL_SECONDS, env=environment)
        if result.code != 0:
            raise Trouble(f"{complaint}:\n{_tail(result)}")

    do(
        "a virtual environment could not be made",
        [blueprint.python, "-m", "venv", "--without-pip", str(target / "venv")],
    )
    if not wheels.is_dir() or run(install, timeout=INSTALL_SECONDS, env=environment).code != 0:
        with _fresh(wheels) as beside:
            do("the packages could not be downloaded", [*pip, "download", f"--dest={beside}", *pinned])
        do("the packages could not be installed", install)
    do("the packages do not fit together", [*pip, "check"])


@contextmanager
def _fresh(directory: Path) -> Iterator[Path]:
    """Yield a new directory; it takes the place of an older one when all went well."""
    with tempfile.TemporaryDirectory(
        prefix=f"{directory.name}.", dir=directory.parent, ignore_cleanup_errors=True
    ) as beside:
        yield Path(beside)
        shutil.rmtree(directory, ignore_errors=True)
        with suppress(OSError):  # another machine with the same cache was quicker: then its packages are used
            Path(beside).rename(directory)


def _ensure_pip(tool: Path, python: str, environment: dict[str, str]) -> None:
    """Make the pip that installs into releases, unless it is there and runs; it is whole or not there."""
    command = [str(tool / "bin/python"), "-m", "pip", "--version"]
    if run(command, timeout=INSTALL_SECONDS, env=environment).code == 0:
        return
    beside = tool.with_name(f"{tool.name}.new")
    result = run([python, "-m", "venv", "--clear", str(beside)], timeout=INSTALL_SECONDS, env=environment)
    if result.code != 0:
        raise Trouble(f"pip could not be installed:\n{_tail(result)}")
    if tool.exists():
        shutil.rmtree(tool)
    beside.rename(tool)


def _compile(target: Path, site: Path) -> None:
    """Compile once, here, so that no start of the app has to (its user could not keep the result)."""
    compiler = [str(target / "venv/bin/python"), "-m", "compileall", "-q", "-j0"]
    run([*compiler, str(site)], timeout=COMPILE_SECONDS)  # packages may carry templates that are not Python
    result = run([*compiler, str(target / "app")], timeout=COMPILE_SECONDS)
    if result.code != 0:
        raise Trouble(f"the app does not compile:\n{_tail(result)}")


def _tail(result: Result, lines: int = 15) -> str:
    return "\n".join(f"{result.out}\n{result.err}".strip().splitlines()[-lines:])
