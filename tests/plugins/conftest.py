import sys

import file_tree

# The module imports it under the name Ansible gives it on the machine.
sys.modules["ansible.module_utils.file_tree"] = file_tree
