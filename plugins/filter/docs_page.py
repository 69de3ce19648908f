"""Filter that makes a page of HTML of a page of docs/, for those who read it on the machine."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.token import Token

DOCUMENTATION = r"""
name: docs_page
short_description: Make a page of HTML of a page of docs/
description:
  - Headings have the anchors they have on GitHub. What leads to a page that is not among O(pages) is no link.
options:
  _input:
    description: The page's name, such as C(alerts.md).
    type: str
    required: true
  pages:
    description: Pages that are served beside it, by their names.
    type: list
    elements: str
    required: true
  style:
    description: Address of the style sheet.
    type: str
    required: true
author: Atlas
"""

DOCS = Path(__file__).parents[2] / "docs"
PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<title>{title}</title>
<link rel="stylesheet" href="{style}">
</head>
<body>
<main>
{body}</main>
</body>
</html>
"""


def docs_page(name: str, pages: list[str], style: str) -> str:
    """Return the page."""
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = parser.parse((DOCS / name).read_text(encoding="utf-8"))
    title = "Atlas"
    for heading, inside in pairwise(tokens):
        if heading.type == "heading_open":
            heading.attrSet("id", _anchor(inside.content))
            title = inside.content if heading.tag == "h1" else title
        inside.children = _followed(inside.children or [], pages)
    return PAGE.format(title=title, style=style, body=parser.renderer.render(tokens, parser.options, {}))


def _anchor(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def _followed(tokens: list[Token], pages: list[str]) -> list[Token]:
    """Return the tokens without the links that lead nowhere here."""
    kept, dropped = [], False
    for token in tokens:
        if token.type == "link_open":
            page = str(token.attrGet("href")).partition("#")[0]
            dropped = page not in ("", *pages) and not page.startswith("https://")
        if not (dropped and token.type in ("link_open", "link_close")):
            kept.append(token)
    return kept


class FilterModule:
    """What Ansible loads."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name the filters."""
        return {"docs_page": docs_page}
