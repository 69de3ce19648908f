"""The SDK's clients of the fake, unmodified: `Clients(cloud, account).network.list_vcns(...)`."""

from functools import cached_property
from typing import Any

import pytest
from tests.oci_api.server import FakeOci

sdk = pytest.importorskip("oci", reason="make setup-oci installs Oracle's SDK")


class Clients:
    """The SDK's clients with an account of this cloud, made when first asked for."""

    def __init__(self, cloud: FakeOci, account: dict[str, str], **more: Any) -> None:
        self.cloud = cloud
        self.account = account
        self.config = {key: account[key] for key in ("tenancy", "user", "fingerprint", "key_file", "region")}
        self.more = more

    def client(self, cls: Any, **more: Any) -> Any:
        return cls(self.config, service_endpoint=self.cloud.endpoint, **self.more, **more)

    @cached_property
    def network(self) -> Any:
        return self.client(sdk.core.VirtualNetworkClient)

    @cached_property
    def compute(self) -> Any:
        return self.client(sdk.core.ComputeClient)

    @cached_property
    def blocks(self) -> Any:
        return self.client(sdk.core.BlockstorageClient)

    @cached_property
    def identity(self) -> Any:
        return self.client(sdk.identity.IdentityClient)

    @cached_property
    def objects(self) -> Any:
        return self.client(sdk.object_storage.ObjectStorageClient)

    @cached_property
    def work(self) -> Any:
        return self.client(sdk.work_requests.WorkRequestClient)

    @cached_property
    def budget(self) -> Any:
        return self.client(sdk.budget.BudgetClient)

    @cached_property
    def limits(self) -> Any:
        return self.client(sdk.limits.LimitsClient)

    @cached_property
    def quotas(self) -> Any:
        return self.client(sdk.limits.QuotasClient)

    @cached_property
    def usage(self) -> Any:
        return self.client(sdk.usage_api.UsageapiClient)

    @cached_property
    def monitoring(self) -> Any:
        return self.client(sdk.monitoring.MonitoringClient)

    @cached_property
    def topics(self) -> Any:
        return self.client(sdk.ons.NotificationControlPlaneClient)

    @cached_property
    def subscriptions(self) -> Any:
        return self.client(sdk.ons.NotificationDataPlaneClient)

    @cached_property
    def dns(self) -> Any:
        return self.client(sdk.dns.DnsClient)


def refused(status: int, call: Any, *arguments: Any, **named: Any) -> Any:
    """The error the call is answered with, which must have this status."""
    with pytest.raises(sdk.exceptions.ServiceError) as caught:
        call(*arguments, **named)
    assert caught.value.status == status, caught.value
    return caught.value
