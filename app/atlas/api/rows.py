"""The number of a row in a request: as part of a path (`{item_id:row}`), or in a field."""

import re

from starlette.convertors import Convertor, register_url_convertor

_NUMBER = "[0-9]{1,18}"


class _RowId(Convertor[int]):
    """Unlike Starlette's own `int`, never too long to be one."""

    regex = _NUMBER

    def convert(self, value: str) -> int:
        return int(value)

    def to_string(self, value: int) -> str:
        return str(value)


register_url_convertor("row", _RowId())


def row_number(text: str) -> int | None:
    """Return the number that a text is; None when it is none that could be a row's."""
    return int(text) if re.fullmatch(_NUMBER, text) else None
