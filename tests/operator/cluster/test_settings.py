"""Every variable that can be wrong gets an error with its name, its value and the way out."""

import pytest

from paddock_operator.settings import SettingsError, from_env

GOOD = {"PADDOCK_NAMESPACE": "paddock-system", "PADDOCK_RUNTIME_IMAGE": "registry/runtime:1"}


def test_two_variables_are_enough() -> None:
    settings = from_env(GOOD)
    assert settings.namespace == "paddock-system"
    assert settings.crash_after_write is None


@pytest.mark.parametrize(
    ("name", "value", "way_out"),
    [
        ("PADDOCK_NAMESPACE", "", "namespace"),
        ("PADDOCK_RUNTIME_IMAGE", "", "image reference"),
        ("PADDOCK_SANDBOX_UID_BASE", "12", "from 65536"),
        ("PADDOCK_SANDBOX_UID_BASE", "root", "whole number"),
        ("PADDOCK_HTTP_PORT", "70000", "to 65535"),
        ("PADDOCK_WORKERS", "0", "from 1"),
        ("PADDOCK_LOG_LEVEL", "LOUD", "INFO"),
        ("PADDOCK_IMAGE_PULL_POLICY", "Sometimes", "IfNotPresent"),
        ("PADDOCK_LEASE_DURATION_S", "2", "from 3"),
        ("PADDOCK_LEASE_DURATION_S", "15s", "whole number"),
        ("PADDOCK_CRASH_AFTER_WRITE", "-1", "whole number"),
    ],
)
def test_a_wrong_value_is_named_with_what_it_takes(name: str, value: str, way_out: str) -> None:
    with pytest.raises(SettingsError) as raised:
        from_env(GOOD | {name: value})
    assert name in str(raised.value)
    assert value in str(raised.value)
    assert way_out in str(raised.value)
