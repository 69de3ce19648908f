import pytest
from library import Library


@pytest.fixture
def library(host, web):
    """The machine's API, through nginx, with a token of its own."""
    return Library(web, host.check_output("atlas token create test"))
