"""The sidecar's configuration: one YAML file, read once, into frozen values.

Design notes
------------
* `sections`, with `jobs`, `guard`, `rules`, `money` and `miner`, is the one list of keys; the example file, `config default` and the error messages are made from it.
* Every problem is shown at once as `file:line: path: what is wrong and what to do`.
* Units are in the key names. Amounts are written in FIL and kept as exact attoFIL.
* Secrets come from files that only their owner can read, or from the environment, and print as `***`.
* A part of the sidecar is given its section, never the whole configuration.
"""

from __future__ import annotations

from sp_plugin.config.guard import GuardConfig, HostRole
from sp_plugin.config.jobs import JobsConfig
from sp_plugin.config.loading import ENV_PREFIX, load_config, parse_config
from sp_plugin.config.money import EarningsConfig, PayoutsConfig
from sp_plugin.config.rules import ApprovalsConfig, DatasetConfig, PolicyConfig
from sp_plugin.config.sections import Config, EndpointConfig, HttpConfig, NodeConfig, Scope

__all__ = [
    "ENV_PREFIX",
    "ApprovalsConfig",
    "Config",
    "DatasetConfig",
    "EarningsConfig",
    "EndpointConfig",
    "GuardConfig",
    "HostRole",
    "HttpConfig",
    "JobsConfig",
    "NodeConfig",
    "PayoutsConfig",
    "PolicyConfig",
    "Scope",
    "load_config",
    "parse_config",
]
