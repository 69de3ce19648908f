"""What the modules for Oracle Cloud document alike."""


class ModuleDocFragment:
    """Who asks, and where."""

    DOCUMENTATION = r"""
options:
  account:
    description:
      - Who asks, and where. Without O(account.tenancy), O(account.user) and O(account.fingerprint) they are read from
        O(account.profile) in O(account.config_file), as Oracle's own tools do.
    type: dict
    required: true
    suboptions:
      auth_type:
        description: A key of a user, or the machine itself, where this runs on an instance of Oracle Cloud.
        choices: [api_key, instance_principal]
        default: api_key
      config_file:
        description: Oracle's configuration file.
        type: path
        default: ~/.oci/config
      profile:
        description: The section of O(account.config_file).
        default: DEFAULT
      tenancy:
        description: OCID of the tenancy.
      user:
        description: OCID of the user.
      fingerprint:
        description: Fingerprint of the user's API key.
      key_file:
        description: The private half of the API key, in PEM.
        type: path
      key_content:
        description: The same as text, from a vault. Goes before O(account.key_file).
      pass_phrase:
        description: What opens the key.
      region:
        description: Name of the region, such as V(eu-frankfurt-1). Always Free is in the home region only.
      endpoint:
        description: One address for all services, for a private cloud or for tests. By default Oracle's own by region.
      federation_endpoint:
        description: Where an instance asks for its token, for a private cloud or for tests.
      poll_seconds:
        description: Seconds between two looks at what is being made; the pauses before another try grow from it.
        type: float
        default: 2.0
  owner:
    description: What is ours carries the freeform tag C(atlas) with this value. Nothing else is ever changed or removed.
    type: str
    required: true
  allow_paid:
    description: Make also what costs money. Without it, whatever is beyond Always Free is refused before it is sent.
    type: bool
    default: false
  free_limits:
    description: Limits of Always Free that Oracle gave this account otherwise, such as C({a1_ocpus 4, a1_memory_gb 24}).
    type: dict
    default: {}
  wait_seconds:
    description: Seconds to wait for one thing to become ready, or to be gone.
    type: float
    default: 900
requirements: [oci]
notes:
  - Names of fields are those of Oracle's Python SDK. Calls are tried again while Oracle is busy (429, 5xx), a create
    always with the token of its first try, so that none is made twice.
author: Atlas
"""
