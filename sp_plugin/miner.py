"""The connection to lotus-miner's own API, if the config names one."""

from __future__ import annotations

from lotus_client.api_info import ApiInfo, ApiInfoError, token_permissions
from lotus_client.miner_client import MinerClient
from sp_plugin.config.miner import MinerConfig
from sp_plugin.errors import ConfigError, Problem

__all__ = ["connect_miner"]

_TIMEOUT_SECONDS = 30.0


def connect_miner(config: MinerConfig) -> MinerClient | None:
    """A client of the miner; None if the config names none. Nothing is sent yet.

    Raises:
        ConfigError: the file cannot be used, or its token is an admin token and the config does not say that this is meant.
    """
    if config.api_info_file is None:
        return None
    where = "provider.miner.api_info_file"
    try:
        info = ApiInfo.parse(config.api_info_file.read().reveal())
    except (ApiInfoError, ValueError) as error:
        raise ConfigError([Problem(where, str(error))]) from error
    if _is_admin(info) and not config.allow_admin_token:
        raise ConfigError(
            [
                Problem(
                    where,
                    "the token has the permission admin, with which sectors could be deleted: make one with "
                    "`lotus-miner auth create-token --perm read`, or set provider.miner.allow_admin_token: true",
                )
            ]
        )
    return MinerClient.connect(info, timeout_seconds=_TIMEOUT_SECONDS)


def _is_admin(info: ApiInfo) -> bool:
    if info.token is None:
        return False
    try:
        return "admin" in token_permissions(info.token.reveal())
    except ApiInfoError:  # no JWT: a proxy's own token
        return False
