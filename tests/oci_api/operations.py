"""Which operations of the SDK the fake answers: service and client, then their names.

`generate.py` makes tables of them. Adding one here (and running the generator) makes its path, parameters
and models known and checked; what it does is written in the module of its subject.
"""

from collections.abc import Iterator


def of(
    noun: str, plural: str = "", *, also: str = "", verbs: str = "create get list update delete"
) -> list[str]:
    """The usual operations of a noun: `create_vcn`, `get_vcn`, `list_vcns`, ... `also` adds others."""
    plural = plural or f"{noun}s"
    return [f"{verb}_{plural if verb == 'list' else noun}" for verb in verbs.split()] + also.split()


NETWORK = [
    *of("vcn", also="add_vcn_cidr remove_vcn_cidr modify_vcn_cidr add_ipv6_vcn_cidr change_vcn_compartment"),
    *of("internet_gateway"),
    *of("route_table"),
    *of("security_list"),
    *of("network_security_group"),
    "list_network_security_group_security_rules",
    "add_network_security_group_security_rules",
    "update_network_security_group_security_rules",
    "remove_network_security_group_security_rules",
    "list_network_security_group_vnics",
    *of("subnet", also="add_ipv6_subnet_cidr"),
    *of("dhcp_options", "dhcp_options"),
    *of("public_ip", also="get_public_ip_by_ip_address get_public_ip_by_private_ip_id"),
    *of("private_ip"),
    *of("ipv6"),
    *of("vnic", verbs="get update"),
]

COMPUTE = [
    *of("instance", verbs="get list update", also="launch_instance terminate_instance instance_action"),
    *of("vnic_attachment", verbs="get list", also="attach_vnic detach_vnic"),
    *of("volume_attachment", verbs="get list update", also="attach_volume detach_volume"),
    *of("boot_volume_attachment", verbs="get list", also="attach_boot_volume detach_boot_volume"),
    *of("image", verbs="get list"),
    "list_shapes",
    "create_compute_capacity_report",
]

BLOCKS = [
    *of("volume"),
    *of("boot_volume"),
    *of("volume_backup"),
    *of("boot_volume_backup"),
    *of("volume_backup_policy", "volume_backup_policies"),
    *of("volume_backup_policy_assignment", verbs="create get delete"),
    "get_volume_backup_policy_asset_assignment",
]

IDENTITY = [
    "list_availability_domains",
    "list_fault_domains",
    "get_tenancy",
    "list_region_subscriptions",
    "list_regions",
    *of("compartment"),
    *of("dynamic_group"),
    *of("policy", "policies"),
    *of("user"),
    *of("group"),
    "add_user_to_group",
    "get_user_group_membership",
    "list_user_group_memberships",
    "remove_user_from_group",
    *of("customer_secret_key", verbs="create list update delete"),
    *of("api_key", verbs="list delete", also="upload_api_key"),
]

BUCKETS = [
    "get_namespace",
    *of("bucket", also="head_bucket"),
    *of("object", verbs="put get head list delete", also="list_object_versions rename_object"),
    *of("object_lifecycle_policy", verbs="put get delete"),
    *of("retention_rule"),
    *of(
        "multipart_upload",
        verbs="create list",
        also="upload_part commit_multipart_upload abort_multipart_upload",
    ),
    "list_multipart_upload_parts",
    *of("preauthenticated_request", verbs="create get list delete"),
]

OPERATIONS: dict[str, dict[str, list[str]]] = {
    "core": {"VirtualNetworkClient": NETWORK, "ComputeClient": COMPUTE, "BlockstorageClient": BLOCKS},
    "identity": {"IdentityClient": IDENTITY},
    "work_requests": {
        "WorkRequestClient": of("work_request", verbs="get list", also="list_work_request_errors")
    },
    "object_storage": {"ObjectStorageClient": BUCKETS},
    "budget": {"BudgetClient": [*of("budget"), *of("alert_rule")]},
    "limits": {
        "LimitsClient": [
            "list_services",
            "list_limit_definitions",
            "list_limit_values",
            "get_resource_availability",
        ],
        "QuotasClient": of("quota"),
    },
    "usage_api": {"UsageapiClient": ["request_summarized_usages"]},
    "monitoring": {
        "MonitoringClient": ["summarize_metrics_data", "post_metric_data", "list_metrics", *of("alarm")],
    },
    "ons": {
        "NotificationControlPlaneClient": of("topic"),
        "NotificationDataPlaneClient": of("subscription", verbs="create get list delete"),
    },
    "dns": {
        "DnsClient": [
            *of("zone"),
            "get_rr_set",
            "update_rr_set",
            "patch_rr_set",
            "delete_rr_set",
            "get_zone_records",
            "get_domain_records",
        ],
    },
}


def names() -> Iterator[tuple[str, str, str]]:
    """Service, client and operation of each."""
    for service, clients in OPERATIONS.items():
        for client, operations in clients.items():
            for operation in operations:
                yield service, client, operation
