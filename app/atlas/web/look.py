"""How pages look: the few choices a reader has. Pure functions over what is stored with the account."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import Any

#: Each choice, its values (the first is what nobody chose) and how they are called.
CHOICES: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "theme": {"auto": "As the device", "light": "Light", "dark": "Dark"},
        "font": {"serif": "Serif", "sans": "Sans"},
        "size": {"3": "Medium", "1": "Smallest", "2": "Small", "4": "Large", "5": "Largest"},
        "width": {"normal": "Normal", "narrow": "Narrow", "wide": "Wide"},
        "keys": {"on": "On", "off": "Off"},
    }
)


@dataclass(frozen=True, slots=True)
class Look:
    """What a page is shown with."""

    theme: str = "auto"
    font: str = "serif"
    size: str = "3"
    width: str = "normal"
    keys: str = "on"

    def attributes(self) -> dict[str, str]:
        """Return the choices that differ from what nobody chose: `data-` attributes of the page."""
        return {
            field.name: getattr(self, field.name)
            for field in fields(self)
            if getattr(self, field.name) != field.default
        }


def chosen(values: Mapping[str, Any]) -> dict[str, str]:
    """Return what of `values` (a form, or what was stored) is a choice there is."""
    return {name: values[name] for name, known in CHOICES.items() if values.get(name) in known}


def look(stored: Mapping[str, Any]) -> Look:
    """Return the look that was chosen; what is unknown is as if nobody had chosen."""
    return Look(**chosen(stored))
