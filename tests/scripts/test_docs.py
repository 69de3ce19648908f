"""The written pages say what the code says: variables, settings, metrics."""

import subprocess
import sys
from pathlib import Path

from atlas.settings import Settings

ROOT = Path(__file__).resolve().parents[2]


def test_the_written_pages_are_current():
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "docs.py", "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_every_option_of_the_app_is_documented_with_its_default_and_meaning():
    page = (ROOT / "docs" / "configuration.md").read_text()
    for name, field in Settings.model_fields.items():
        (row,) = [line for line in page.splitlines() if line.startswith(f"| `ATLAS_{name.upper()}` |")]
        assert (field.description or "").endswith("."), name
        assert field.description.replace("|", "\\|") in row
        assert len([cell for cell in row.split(" | ") if cell.strip("| ")]) == 3, row
