"""The weekly mail in words: as text and as HTML, the app's letter with the machine's parts in it.

The app marks in its letter where our parts belong; when it does not answer, the mail has only ours.
"""

from datetime import datetime
from email.message import EmailMessage
from email.utils import format_datetime
from html import escape
from typing import Any, NamedTuple

from atlasctl.report.parts import WEEK, Part
from atlasctl.words import day

#: Where in the app's letter the machine's parts belong.
TODO_MARK, PARTS_MARK = "<!-- machine: what to do -->", "<!-- machine: its parts -->"
SILENT = "The app did not answer, so this is about the machine alone"
STYLE = """
:root { color-scheme: light dark }
body { margin: 0; padding: 20px 14px 36px; background: #f7f5f0; color: #1e1c18; overflow-wrap: anywhere;
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; -webkit-text-size-adjust: 100% }
.page { max-width: 600px; margin: 0 auto }
h1 { margin: 2px 0 0; font-size: 25px; line-height: 1.25 }
h2 { margin: 0 0 12px; font-size: 13px; letter-spacing: .06em; text-transform: uppercase; color: #6a655b }
p { margin: 0 } .soft { color: #6a655b } .small { font-size: 14px } .bad { color: #a02f17 }
.card { margin-top: 14px; padding: 16px; background: #fff; border: 1px solid #e6e0d4; border-radius: 12px }
ol { margin: 0; padding-left: 22px } table { width: 100%; border-collapse: collapse }
td { padding: 7px 0; vertical-align: top } .right { text-align: right; padding-left: 12px }
@media (prefers-color-scheme: dark) {
  body { background: #141618 !important; color: #e6e2d9 !important }
  .card { background: #1b1e20 !important; border-color: #2b2f32 !important }
  h2, .soft { color: #a29c91 !important } .bad { color: #f19a85 !important }
}
"""


class Letter(NamedTuple):
    """What the mail is made of; `app` is its letter (subject, text, html), or empty, and `why` says why."""

    parts: list[Part]
    app: dict[str, Any]
    why: str
    name: str
    now: datetime

    @property
    def todo(self) -> list[str]:
        """What its owner should do on the machine."""
        return [sentence for part in self.parts for sentence in part.todo]

    @property
    def headline(self) -> str:
        """Whose week it was, and which."""
        return f"{self.name}, {day(self.now - WEEK)} to {day(self.now)} {self.now.year}"


def compose(letter: Letter, to: str) -> EmailMessage:
    """Return the mail."""
    count = f"{len(letter.todo)} to do on the machine" if letter.todo else "the machine is well"
    message = EmailMessage()
    first = letter.app["subject"] if letter.app else "Atlas: the app did not answer"
    message["Subject"] = f"{first}; {count}"
    message["To"] = to
    message["Date"] = format_datetime(letter.now)
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(text(letter), cte="quoted-printable")
    message.add_alternative(html(letter), subtype="html", cte="quoted-printable")
    return message


def text(letter: Letter) -> str:
    """Return the mail for those who read text."""
    if letter.app:
        lines = [str(letter.app["text"]).rstrip(), ""]
    else:
        lines = [letter.headline, "", f"{SILENT}: {letter.why}", ""]
    lines += [f"THE MACHINE ({letter.name}): WHAT TO DO"]
    lines += [f"{number}. {sentence}" for number, sentence in enumerate(letter.todo, 1)] or ["Nothing."]
    for part in letter.parts:
        lines += ["", part.title.upper()]
        lines += [f"{'   ' if row.well else '!! '}{row.name}: {row.words}" for row in part.rows]
    return "\n".join(lines) + "\n"


def html(letter: Letter) -> str:
    """Return the mail for those who read HTML."""
    sentences = "".join(f"<li>{_coded(sentence)}</li>" for sentence in letter.todo)
    todo = f"<ol>{sentences}</ol>" if sentences else "<p>Nothing.</p>"
    ours = _card(f"The machine ({letter.name}): what to do", todo)
    cards = "".join(_card(part.title, _table(part)) for part in letter.parts)
    page = str(letter.app.get("html", ""))
    if TODO_MARK in page and PARTS_MARK in page:
        return page.replace(TODO_MARK, ours, 1).replace(PARTS_MARK, cards, 1)
    headline = escape(letter.headline)
    if letter.app:
        first = f'<pre style="white-space:pre-wrap">{escape(str(letter.app["text"]))}</pre>'
    else:
        first = f'<p class="bad">{escape(SILENT)}: {escape(letter.why)}</p>'
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><title>{headline}</title>'
        f'<style>{STYLE}</style></head>\n<body><div class="page"><h1>{headline}</h1>{first}'
        f"{ours}{cards}</div></body></html>\n"
    )


def _card(title: str, inside: str) -> str:
    return f'<div class="card"><h2>{escape(title)}</h2>{inside}</div>\n'


def _table(part: Part) -> str:
    rows = "".join(
        f'<tr><td>{escape(row.name)}</td><td class="right{"" if row.well else " bad"}"'
        f' style="white-space:normal">{escape(row.words)}</td></tr>'
        for row in part.rows
    )
    return f'<table class="rows">{rows}</table>'


def _coded(sentence: str) -> str:
    """Return a sentence as HTML, with what stands between backticks as code."""
    parts = enumerate(escape(sentence).split("`"))
    return "".join(f"<code>{part}</code>" if index % 2 else part for index, part in parts)
