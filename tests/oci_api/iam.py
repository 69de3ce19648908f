"""What an instance may do: dynamic groups and policies, read as OCI reads them."""

from typing import TYPE_CHECKING

from tests.oci_api.calls import Call

if TYPE_CHECKING:
    from tests.oci_api.server import FakeOci


class Iam:
    """The policies of a tenancy.

    Its users may do all; an instance what a policy allows its dynamic groups.
    """

    def __init__(self, cloud: "FakeOci") -> None:
        self.cloud = cloud

    def check_rule(self, rule: str) -> None:
        """Refuse a matching rule that cannot be read."""

    def check_statements(self, statements: list[str], compartment: str) -> None:
        """Refuse statements that cannot be read."""

    def allow(self, call: Call) -> None:
        """Refuse what the principal may not do."""
