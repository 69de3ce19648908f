"""Where things stand on the machine, below one root that tests may move."""

import os
from pathlib import Path
from typing import NamedTuple


class Paths(NamedTuple):
    """The machine's paths; `root` is `/` except in tests and rescue systems (ATLASCTL_ROOT)."""

    root: Path

    @property
    def settings(self) -> Path:
        """ATLAS_* lines without secrets, shared by the units and the `atlas` command."""
        return self.root / "etc/atlas/atlas.env"

    @property
    def secrets(self) -> Path:
        """One file a secret, readable by root and the app's group only."""
        return self.root / "etc/atlas/secrets"

    @property
    def health_d(self) -> Path:
        """Where roles drop their health checks."""
        return self.root / "etc/atlas/health.d"

    @property
    def status_dir(self) -> Path:
        """The static status page, served by nginx."""
        return self.root / "var/lib/atlas-status"

    @property
    def health_state(self) -> Path:
        """What health remembers from run to run."""
        return self.root / "var/lib/atlasctl/health-state.json"

    @property
    def cloud_settings(self) -> Path:
        """What we watch in Oracle Cloud; not there on other machines."""
        return self.root / "etc/atlas/oci.json"

    @property
    def mail_settings(self) -> Path:
        """Where the machine's own mail goes; not there without role mail."""
        return self.root / "etc/atlas/mail.json"

    @property
    def alerts_settings(self) -> Path:
        """Where Alertmanager and Prometheus listen; not there without role alertmanager."""
        return self.root / "etc/atlas/alerts.json"

    @property
    def backup_settings(self) -> Path:
        """Where backups go, with the keys of storage services; not there without role backup."""
        return self.root / "etc/atlas-backup/settings.json"

    @property
    def usage_report(self) -> Path:
        """What `atlasctl usage` read last of Oracle Cloud's free limits."""
        return self.root / "var/lib/atlasctl/usage.json"

    @property
    def report_state(self) -> Path:
        """When the weekly mail was handed in last, and how full the disks were then."""
        return self.root / "var/lib/atlasctl/report.json"

    def below_root(self, path: Path) -> Path:
        """Return an absolute path of the machine as it is below our root."""
        return self.root / path.relative_to("/")

    @property
    def app_root(self) -> Path:
        """The directory of releases, `current` and `source`."""
        return self.root / "opt/atlas"

    @property
    def pip_cache(self) -> Path:
        """Downloaded packages, so that the next release builds quickly; nothing here is executed."""
        return self.root / "var/cache/atlas/pip"

    @property
    def pip_tool(self) -> Path:
        """The pip that installs into releases, one for each version of Python."""
        return self.root / "opt/atlas/tool"


def from_environment() -> Paths:
    """Return the machine's paths, below ATLASCTL_ROOT when that is set."""
    return Paths(Path(os.environ.get("ATLASCTL_ROOT") or "/"))
