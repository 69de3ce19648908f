"""What reading an address gives: a page, or the reason why there is none.

Kept apart from the reading itself, so that the worker can hold and raise these without loading a parser.
"""

from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any, Literal, Self

from atlas.stages.table import Stage

Reason = Literal[
    "not_html",
    "undecodable",
    "empty_page",
    "needs_javascript",
    "login_wall",
    "soft_404",
    "cookie_wall",
    "error_page",
    "not_an_article",
    "too_complex",
    "damaged",
    "protected",
    "only_pictures",
]

#: The step of validation or processing that each reason belongs to.
_STAGES: dict[Reason, Stage] = {
    "not_html": Stage.FORMAT_VALIDATE,
    "undecodable": Stage.FORMAT_VALIDATE,
    "empty_page": Stage.COMPLETENESS_CHECK,
    "needs_javascript": Stage.COMPLETENESS_CHECK,
    "login_wall": Stage.AUTHENTICITY_VERIFY,
    "soft_404": Stage.AUTHENTICITY_VERIFY,
    "cookie_wall": Stage.AUTHENTICITY_VERIFY,
    "error_page": Stage.AUTHENTICITY_VERIFY,
    "not_an_article": Stage.QUALITY_CHECK,
    "too_complex": Stage.PROCESSING_STARTED,
    "damaged": Stage.FORMAT_VALIDATE,
    "protected": Stage.FORMAT_VALIDATE,
    "only_pictures": Stage.COMPLETENESS_CHECK,
}


@dataclass(frozen=True, slots=True)
class Page:
    """A page worth keeping, as the reader view shows it and the search finds it."""

    title: str
    byline: str | None
    site: str | None
    #: BCP 47 tag such as `en` or `pt-BR`.
    language: str | None
    #: In UTC.
    published_at: datetime | None
    excerpt: str | None
    #: Sanitised; every address in it is absolute.
    html: str
    #: Plain text: paragraphs are a blank line apart.
    text: str
    word_count: int
    #: Address of the picture that stands for the page.
    image: str | None
    #: What it is about, the weightiest first.
    terms: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the page as what JSON can write."""
        return asdict(self) | {"published_at": self.published_at and self.published_at.isoformat()}

    def named(self, title: str) -> "Page":
        """Return the page with another title."""
        return replace(self, title=title)

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> Self:
        """Return the page that `to_json` gave."""
        date = fields["published_at"]
        terms = tuple(str(term) for term in fields.get("terms", ()))
        return cls(
            **fields | {"published_at": datetime.fromisoformat(date) if date else None, "terms": terms}
        )


class PageError(Exception):
    """The address gave no page worth keeping. `code` is for programs, `message` for the reader."""

    def __init__(self, code: Reason, message: str) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message
        self.stage = _STAGES[code]

    def __str__(self) -> str:
        return self.message
