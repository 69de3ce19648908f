import importlib
import sys

# Modules import what they share under the name Ansible gives it on the machine.
for name in ("file_tree", "oci_account", "oci_models", "oci_kinds", "oci_free", "oci_state"):
    sys.modules[f"ansible.module_utils.{name}"] = importlib.import_module(name)
