"""Mail of how a backup or a trial ended, by the machine's own mail. Units call it when they stop."""

import time
from email.message import EmailMessage

from atlasctl.backup import drill, make
from atlasctl.backup import state as memory
from atlasctl.backup.settings import BackupSettings
from atlasctl.paths import Paths
from atlasctl.run import run
from atlasctl.trouble import Trouble

SENDMAIL = "usr/sbin/sendmail"
#: What was remembered to have ended so many seconds ago, or less, is what has just ended.
JUST_NOW = 120
SUBJECTS = {
    ("backup", "success"): "The backup was made",
    ("backup", "failure"): "The backup failed",
    ("drill", "success"): "The backups are proven",
    ("drill", "failure"): "The backups are NOT proven",
}


def tell(paths: Paths, settings: BackupSettings, job: str, result: str) -> int:
    """Mail how a job ended, if its owner wants to know; `result` is what systemd calls it."""
    how = "success" if result == "success" else "failure"
    if how not in settings.mail:
        return 0
    message = EmailMessage()
    message["Subject"] = f"[Atlas] {SUBJECTS[job, how]}"
    message["To"] = "root"
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(f"{_words(settings, job, result)}\n\nMore: journalctl --unit atlas-{job}\n")
    done = run([str(paths.root / SENDMAIL), "-t", "-i"], timeout=60, stdin=message.as_string())
    if done.code != 0:
        raise Trouble(f"The mail could not be handed in: {done.words}")
    return 0


def _words(settings: BackupSettings, job: str, result: str) -> str:
    """Return what was remembered of it; a job that was killed had no time for that."""
    state = memory.read(settings)
    last = state["runs" if job == "backup" else "drills"][-1:]
    if not last or time.time() - last[0]["at"] - last[0]["seconds"] > JUST_NOW:
        return f"The job ended before it could say how it went ({result})."
    if job == "backup":
        return make.words(last[0])
    newest = {one["repository"]: one for one in state["drills"]}
    return "\n".join(drill.words(newest[one.name]) for one in settings.repositories if one.name in newest)
