"""The examples' settings: unless the command line names another, the SSH configuration is that of ``crl lab up``."""

from __future__ import annotations

from dataclasses import replace

import pytest

from crl.lab import Lab
from crl.pytest_plugin import CrlConfig


@pytest.fixture(scope="session")
def crl_config(crl_config: CrlConfig) -> CrlConfig:
    """The plugin's settings, with the lab's configuration (``$CRL_LAB_DIR``)."""
    return crl_config if crl_config.ssh_config else replace(crl_config, ssh_config=Lab().ssh_config)
