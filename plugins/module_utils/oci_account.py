"""Ask Oracle Cloud: who asks and where, one client a service, retries that double nothing, errors that help.

The SDK's own circuit breaker is shared by all clients of a process: ten answers "Out of host capacity" would
make every other service fail too, so it is never used. Its retries are not either: they differ by service,
and a create that timed out must be repeated with the token it was sent with, or there are two.
"""

from __future__ import annotations

import configparser
import os
import random
import re
import secrets
import socket
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

# The SDK does without what reads keys from hardware, which takes as long to load as a fifth of the rest.
sys.modules.setdefault("pkcs11", None)  # type: ignore[arg-type]
try:
    import oci
    from oci.auth.signers import InstancePrincipalsSecurityTokenSigner
    from oci.circuit_breaker import NoCircuitBreakerStrategy
    from oci.exceptions import ConnectTimeout, RequestException, ServiceError
    from oci.retry import NoneRetryStrategy

    HAS_OCI = True
except ImportError:  # the module that asks says so
    HAS_OCI = False

MISSING = (
    "The Python package `oci` is not installed where this runs. On the operator's machine: make setup-oci"
)

ACCOUNT_OPTIONS: dict[str, dict[str, Any]] = {
    "auth_type": {"choices": ["api_key", "instance_principal"], "default": "api_key"},
    "config_file": {"type": "path", "default": "~/.oci/config"},
    "profile": {"default": "DEFAULT"},
    "tenancy": {},
    "user": {},
    "fingerprint": {},
    "key_file": {"type": "path"},
    "key_content": {"no_log": True},
    "pass_phrase": {"no_log": True},
    "region": {},
    "endpoint": {},
    "federation_endpoint": {},
    "poll_seconds": {"type": "float", "default": 2.0},
}

CLIENTS = {
    "block": ("core", "BlockstorageClient"),
    "budget": ("budget", "BudgetClient"),
    "compute": ("core", "ComputeClient"),
    "dns": ("dns", "DnsClient"),
    "identity": ("identity", "IdentityClient"),
    "limits": ("limits", "LimitsClient"),
    "monitoring": ("monitoring", "MonitoringClient"),
    "network": ("core", "VirtualNetworkClient"),
    "objects": ("object_storage", "ObjectStorageClient"),
    "quotas": ("limits", "QuotasClient"),
    "usage": ("usage_api", "UsageapiClient"),
}
# Seconds to connect, and to wait for an answer.
TIMEOUT = (10, 60)
TRIES = 8
METADATA = "http://169.254.169.254/opc/v2"
METADATA_SECONDS = 3
LONGEST_PAUSE = 30.0
# Without a token, these would make a second one if they were repeated.
DOUBLING = ("create_", "add_", "attach_")
BUSY = {429, 500, 502, 503, 504}
NO_CAPACITY = "out of host capacity"
# What follows a code of Oracle's: what it means here, and what to do.
MEANING = {
    "NotAuthenticated": "Oracle does not accept the key. Look at user, fingerprint, tenancy and key_file "
    "(Oracle Cloud: My profile, API keys), whether the key was deleted, and at this computer's clock.",
    "NotAuthorizedOrNotFound": "It is not there, or this user may not see it: Oracle says the same for "
    "both. Policies made a moment ago take some minutes.",
    "LimitExceeded": "The account's limit is reached (Oracle Cloud: Governance, Limits, Quotas and Usage). "
    "After something was deleted or a launch failed, Oracle may count it for an hour more.",
    "QuotaExceeded": "A quota policy of this tenancy forbids it (Governance, Quota policies).",
    "NotAllowed": "Users, groups, policies and compartments are changed in the home region only: set region "
    "to it.",
    "TooManyRequests": "Oracle asked to slow down until the patience ran out. Run it again in some minutes.",
    "InvalidatedRetryToken": "What was made with this request is deleted by now. Run it again.",
    "NotAuthorizedOrResourceAlreadyExists": "The name is taken, perhaps in a place this user may not see.",
    "IdcsConversionError": "The tenancy's identity domain refuses it. Where it wants a mail address of the "
    "user for backups: oci_identity_backup_email, an address no other user has.",
    "BucketAlreadyExists": "The name of the bucket is taken in this tenancy: choose another.",
}


class CloudError(Exception):
    """It cannot be done; the message says why, and what to do."""


class Unsure(CloudError):  # noqa: N818 - a state of knowledge
    """Something may have been made or not: look before it is made again."""


class Account:
    """Who asks, and where."""

    def __init__(self, options: dict[str, Any]) -> None:
        """Read the key, or ask the machine's metadata service for one.

        Raises CloudError when they cannot be had.
        """
        if not HAS_OCI:
            raise CloudError(MISSING)
        # Services other than the one asked set these aside only when told so before.
        os.environ.setdefault("OCI_SDK_DEFAULT_CIRCUITBREAKER_ENABLED", "false")
        self.endpoint = (options.get("endpoint") or "").rstrip("/") or None
        self.poll_seconds: float = options.get("poll_seconds") or 2.0
        self.calls = 0
        self._clients: dict[str, Any] = {}
        self._known: dict[str, Any] = {}
        if options.get("auth_type") == "instance_principal":
            self.config, self.signer = {}, _principal(options)
            self.tenancy, self.region = self.signer.tenancy_id, options.get("region") or self.signer.region
            self.config = {"region": self.region}
        else:
            # One for all clients: to load a key is to check it, which takes longer than a request.
            self.config, self.signer = _key(options)
            self.tenancy, self.region = self.config["tenancy"], self.config["region"]

    def client(self, service: str) -> Any:
        """Return the SDK's client of a service named in CLIENTS."""
        if service not in self._clients:
            package, name = CLIENTS[service]
            kind = getattr(__import__(f"oci.{package}", fromlist=[name]), name)
            options: dict[str, Any] = {
                "timeout": TIMEOUT,
                "retry_strategy": NoneRetryStrategy(),
                "circuit_breaker_strategy": NoCircuitBreakerStrategy(),
            }
            if self.endpoint:
                options["service_endpoint"] = self.endpoint
            if self.signer:
                options["signer"] = self.signer
            self._clients[service] = kind(self.config, **options)
        return self._clients[service]

    def ask(self, service: str, operation: str, *arguments: Any, **named: Any) -> Any:
        """Call one operation, again and more slowly while Oracle is busy; return the SDK's response.

        Raises oci.exceptions.ServiceError; CloudError when nobody answers, and of these Unsure when it may
        have been done nevertheless, and to ask again might do it twice.
        """
        call = getattr(self.client(service), operation)
        has_token = "opc_retry_token" in (call.__doc__ or "")
        if has_token:
            # One token for all tries of this call: what was made and not answered is not made twice.
            named.setdefault("opc_retry_token", secrets.token_hex(15))
        else:
            named.pop("opc_retry_token", None)
        doubles = operation.startswith(DOUBLING) and not has_token
        for attempt in range(1, TRIES + 1):
            self.calls += 1
            try:
                return call(*arguments, **named)
            except ServiceError as error:
                if attempt == TRIES or not _is_busy(error):
                    raise
                self.pause(attempt, error.headers.get("retry-after"))
                if doubles and error.status >= 500:
                    raise Unsure(explain(error, operation)) from error
            except (ConnectTimeout, RequestException) as error:
                if doubles and not _never_arrived(error):
                    self.pause(attempt)
                    raise Unsure(f"{operation}: no answer came: {error}") from error
                if attempt == TRIES:
                    where = self.endpoint or f"Oracle Cloud in {self.region}"
                    raise CloudError(f"{where} does not answer ({operation}): {error}") from error
                self.pause(attempt)
        raise AssertionError("unreachable")

    def pause(self, attempt: int, asked: str | None = None) -> None:
        """Wait before another try, each time longer; at least as long as Oracle asked for."""
        seconds = min(self.poll_seconds / 2 * 2**attempt, LONGEST_PAUSE) * random.uniform(0.7, 1.3)
        if asked and asked.isdigit():
            seconds = max(seconds, min(float(asked), LONGEST_PAUSE))
        time.sleep(seconds)

    def rows(self, service: str, operation: str, *arguments: Any, **named: Any) -> Iterator[Any]:
        """List everything of a kind, page by page."""
        while True:
            answer = self.ask(service, operation, *arguments, **named)
            data = answer.data
            yield from getattr(data, "items", data) if not isinstance(data, list) else data
            if not answer.has_next_page:
                return
            named["page"] = answer.next_page

    def wait(self, look: Callable[[], Any], done: Callable[[Any], bool], seconds: float, what: str) -> Any:
        """Look until it is done; return what was seen last.

        Raises CloudError after so many seconds.
        """
        end = time.monotonic() + seconds
        while not done(seen := look()):
            if time.monotonic() > end:
                raise CloudError(f"{what}: not within {seconds:.0f} s. Run it again: it goes on where it is.")
            time.sleep(self.poll_seconds)
        return seen

    @property
    def home_region(self) -> str:
        """Return the name of the region the account was made in: only there is anything free."""

        def find() -> str:
            regions = self.rows("identity", "list_region_subscriptions", self.tenancy)
            home = next((str(row.region_name) for row in regions if row.is_home_region), None)
            if home is None:
                raise CloudError("Oracle does not say which region is this account's home region.")
            return home

        return str(self._once("home", find))

    @property
    def namespace(self) -> str:
        """Return the tenancy's name in object storage."""
        return str(self._once("namespace", lambda: self.ask("objects", "get_namespace").data))

    def domains(self) -> list[str]:
        """Return the names of the region's availability domains."""

        def find() -> list[str]:
            found = self.rows("identity", "list_availability_domains", self.tenancy)
            return sorted(row.name for row in found)

        return list(self._once("domains", find))

    def compartments(self) -> list[str]:
        """Return the OCIDs of all compartments this user sees, the tenancy's own first."""

        def find() -> list[str]:
            rows = self.rows(
                "identity",
                "list_compartments",
                self.tenancy,
                compartment_id_in_subtree=True,
                access_level="ACCESSIBLE",
            )
            return [self.tenancy, *(row.id for row in rows if row.lifecycle_state == "ACTIVE")]

        return list(self._once("compartments", find))

    def zone(self, name: str, wanted: str | None = None) -> str:
        """Return the OCID of the DNS zone of that name; without one, of the longest a name ends with.

        Raises CloudError when this user sees none.
        """
        labels = name.split(".")
        names = [wanted] if wanted else [".".join(labels[start:]) for start in range(len(labels) - 1)]

        def find() -> str:
            for candidate in names:
                try:
                    return str(self.ask("dns", "get_zone", candidate, scope="GLOBAL").data.id)
                except ServiceError as error:
                    if not is_missing(error):
                        raise
            raise CloudError(
                f"There is no DNS zone for {name} in this tenancy that this user sees (looked for "
                f"{', '.join(names)}). Make one in Oracle Cloud (Networking, DNS management, Zones), and "
                "have your registrar name the servers it shows."
            )

        return str(self._once(f"zone {names[0]}", find))

    def _once(self, name: str, find: Callable[[], Any]) -> Any:
        if name not in self._known:
            self._known[name] = find()
        return self._known[name]


def explain(error: Exception, doing: str) -> str:
    """Say what Oracle's answer means while doing something, with its request id for a support case."""
    if not isinstance(error, ServiceError):
        return f"{doing}: {error}"
    words = str(error.message).strip().rstrip(".")
    meaning = MEANING.get(error.code, "")
    if error.status >= 500:
        meaning = "Trouble at Oracle's side: run it again later."
    identity = (
        f"(HTTP {error.status} {error.code}, request {(error.headers or {}).get('opc-request-id', '?')})"
    )
    return " ".join(filter(None, [f"{doing}: {words}.", meaning, identity]))


def lacks_capacity(error: Exception) -> bool:
    """Say whether Oracle has no machine to give now, which another place or hour may have."""
    return isinstance(error, ServiceError) and NO_CAPACITY in str(error.message).lower()


def is_missing(error: Exception) -> bool:
    """Say whether it is not there, or may not be seen."""
    return isinstance(error, ServiceError) and error.status == 404


def _never_arrived(error: Exception) -> bool:
    """Say whether nobody can have read the request: there was no connection."""
    return isinstance(error, ConnectTimeout) or "NewConnectionError" in str(error)


def _is_busy(error: ServiceError) -> bool:
    return error.status in BUSY and not lacks_capacity(error)


def _key(options: dict[str, Any]) -> tuple[dict[str, Any], Any]:
    """Return the SDK's configuration of a user with an API key, and what signs with it."""
    config = _given(options)
    if not config.get("region"):
        raise CloudError("The account has no region, such as eu-frankfurt-1.")
    if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", config["region"].lower()):
        raise CloudError(
            f"The account's region is no name of one, such as eu-frankfurt-1: {config['region']}"
        )
    if not config.get("key_file") and not config.get("key_content"):
        raise CloudError("The account has no key: give key_file or key_content.")
    try:
        oci.config.validate_config(config)
        signer = oci.signer.Signer(
            config["tenancy"],
            config["user"],
            config["fingerprint"],
            private_key_file_location=config.get("key_file"),
            pass_phrase=config.get("pass_phrase"),
            private_key_content=config.get("key_content"),
        )
    except oci.exceptions.InvalidConfig as error:
        wrong = error.args[0]
        words = (
            [f"{name} is {why}" for name, why in wrong.items()] if isinstance(wrong, dict) else [str(wrong)]
        )
        raise CloudError(f"The account's settings are wrong: {'; '.join(words)}.") from error
    except (oci.exceptions.ClientError, ValueError, TypeError) as error:
        hint = " Give the right pass_phrase." if "pass" in str(error).lower() else ""
        raise CloudError(f"The API key cannot be used: {error}{hint}") from error
    return config, signer


def _given(options: dict[str, Any]) -> dict[str, Any]:
    """Return what the options say of the user, with what a profile of Oracle's own file says besides."""
    names = ("tenancy", "user", "fingerprint", "region", "pass_phrase", "key_file", "key_content")
    config = {name: options[name] for name in names if options.get(name)}
    path = os.path.expanduser(options.get("config_file") or "~/.oci/config")
    profile = options.get("profile") or "DEFAULT"
    if not {"tenancy", "user", "fingerprint"} <= config.keys():
        try:
            config = {**oci.config.from_file(path, profile), **config}
        except (oci.exceptions.ConfigFileNotFound, oci.exceptions.ProfileNotFound) as error:
            raise CloudError(
                f"No API key: neither are tenancy, user, fingerprint and a key given, nor is there a profile "
                f"{profile} in {path} ({error}). docs/oci-first-run.md shows how to make one."
            ) from error
        except (oci.exceptions.ClientError, configparser.Error, OSError, ValueError) as error:
            words = " ".join(str(error).split())
            raise CloudError(f"{path} is no configuration file of Oracle's: {words}") from error
    if config.get("key_content"):
        config.pop("key_file", None)
    if config.get("key_file"):
        config["key_file"] = os.path.expanduser(config["key_file"])
        if not os.access(config["key_file"], os.R_OK):
            raise CloudError(f"The API key {config['key_file']} is not there or not readable.")
    return config


def _principal(options: dict[str, Any]) -> Any:
    metadata = os.environ.get("OCI_METADATA_BASE_URL", METADATA)
    try:
        # The SDK waits ten seconds for each of two addresses, again and again; elsewhere nobody answers at
        # all.
        with socket.create_connection(_host(metadata), timeout=METADATA_SECONDS):
            pass
    except OSError as error:
        raise CloudError(
            f"This machine is no instance of Oracle Cloud: {metadata} does not answer ({error}). "
            "Use an API key (auth_type: api_key), or run this on the instance."
        ) from error
    more = (
        {"federation_endpoint": options["federation_endpoint"]} if options.get("federation_endpoint") else {}
    )
    try:
        return InstancePrincipalsSecurityTokenSigner(
            federation_client_circuit_breaker_strategy=NoCircuitBreakerStrategy(),
            retry_strategy=NoneRetryStrategy(),
            **more,
        )
    except Exception as error:  # whatever is wrong with certificates, tokens or answers
        raise CloudError(
            f"This instance may not act for itself: {error}. Its dynamic group and policies come with "
            "playbooks/provision.yml, and take some minutes to hold."
        ) from error


def _host(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or 80
