"""Values of Ansible as arguments of filters."""

from __future__ import annotations

import pytest
from ansible.errors import AnsibleError
from jinja2.exceptions import UndefinedError

from ansible_collections.altbackup.core.plugins.plugin_utils.planning.filter_values import explain


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (UndefinedError("'root' is undefined"), "is a template with 'root', which is undefined"),
        (UndefinedError("'hunter2 or so' is undefined"), "is a template that could not be evaluated"),
        (AnsibleError("Attempting to decrypt but no vault secrets found"), "is in a vault and could not be decrypted"),
        (AnsibleError("template error while templating string: hunter2"), "is a template that could not be evaluated"),
    ],
)
def test_why_a_value_cannot_be_read_is_told_without_the_value(error: Exception, text: str) -> None:
    assert explain(error) == text
