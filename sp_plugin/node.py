"""The connection to the Lotus node, made only if it is the node the config means."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Protocol

import structlog

from fil_plus.regimes import SOLSTICE
from lotus_client.address import Address
from lotus_client.agreement import ComparedNode, compare_nodes
from lotus_client.api_info import ApiInfo, ApiInfoError, token_permissions
from lotus_client.cid import Cid
from lotus_client.client import LotusClient
from lotus_client.errors import (
    LotusDecodeError,
    LotusError,
    LotusWrongNetwork,
)
from lotus_client.node import NetworkParams, NodeCapabilities, check_network
from lotus_client.types import Epoch, NetworkVersion
from sp_plugin.config import NodeConfig
from sp_plugin.config.fields import SecretFile
from sp_plugin.errors import ConfigError, Problem

__all__ = [
    "NodesAgree",
    "SameChain",
    "api_infos_of",
    "check_node",
    "connect_each",
    "connect_node",
    "nodes_agree",
    "solstice_epoch",
]

log = structlog.get_logger()


def api_infos_of(config: NodeConfig) -> tuple[ApiInfo, ...]:
    """Where the nodes are and with which tokens, in the order of preference.

    Raises:
        ConfigError: a string or file cannot be used, or one node is named twice.
    """
    first = _first_infos(config)
    others = tuple(
        _info(f"node.endpoints.{place}", item.endpoint, item.token_file)
        for place, item in enumerate(config.endpoints)
    )
    infos = first + others
    addresses = [info.address for info in infos]
    if len(set(addresses)) != len(addresses):
        twice = next(address for address in addresses if addresses.count(address) > 1)
        raise ConfigError(
            [Problem("node", f"{twice} is named twice: it cannot stand in for itself")]
        )
    return infos


def _first_infos(config: NodeConfig) -> tuple[ApiInfo, ...]:
    if config.endpoint is not None:
        return (_info("node.endpoint", config.endpoint, config.token_file),)
    key = "api_info_file" if config.api_info_file is not None else "api_info"
    try:
        if config.api_info_file is not None:
            return ApiInfo.parse_many(config.api_info_file.read().reveal())
        assert config.api_info is not None
        return ApiInfo.parse_many(config.api_info.reveal())
    except (ApiInfoError, ValueError) as error:
        raise ConfigError([Problem(f"node.{key}", str(error))]) from error


def _info(where: str, endpoint: str, token_file: SecretFile | None) -> ApiInfo:
    try:
        info = ApiInfo.parse(endpoint)
        return ApiInfo(info.address, token_file.read() if token_file else info.token)
    except (ApiInfoError, ValueError) as error:
        raise ConfigError([Problem(where, str(error))]) from error


def connect_node(config: NodeConfig) -> LotusClient:
    """A client of the node, or of several; nothing is sent yet.

    Raises:
        ConfigError: as `api_infos_of`, or a token is an admin token and the config does not say that this is meant.
    """
    infos = api_infos_of(config)
    for info in infos[1:]:  # the first is asked itself, at the start
        _refuse_admin(config, info)
    return _connected(config, infos)


def nodes_agree(config: NodeConfig, node: LotusClient) -> NodesAgree | None:
    """The comparison that is made before a payout is signed; None where there is but one node, or none is wanted."""
    if not config.require_agreement or len(api_infos_of(config)) < 2:
        return None
    return NodesAgree(connect_each(config), lambda: node.node_in_use)


def connect_each(config: NodeConfig) -> dict[str, LotusClient]:
    """A client for each node alone, by its address; nothing is sent yet."""
    return {info.address: _connected(config, (info,)) for info in api_infos_of(config)}


def _connected(config: NodeConfig, infos: Sequence[ApiInfo]) -> LotusClient:
    return LotusClient.connect(
        infos,
        timeout_seconds=float(config.request_timeout_seconds),
        heavy_timeout_seconds=float(config.heavy_request_timeout_seconds),
        on_switch=_tell_of_switch,
    )


def _tell_of_switch(before: str, after: str, why: str) -> None:
    log.warning("node_switched", before=before, after=after, reason=why)


def _refuse_admin(config: NodeConfig, info: ApiInfo) -> None:
    """By what the token says of itself, so that no node need be up; a node's own word is checked in `check_node`."""
    if info.token is None or config.allow_admin_token:
        return
    with suppress(ApiInfoError):  # no JWT: a proxy's own token
        if "admin" in token_permissions(info.token.reveal()):
            raise ConfigError([_admin_problem(info.address)])


def _admin_problem(name: str) -> Problem:
    return Problem(
        "node",
        f"the token for {name} has the permission admin: whoever holds it can take every key of the node. "
        "Make one with `lotus auth create-token --perm write` (or `read`, if you do not pay), "
        "or set node.allow_admin_token: true",
    )


class SeparateNode(ComparedNode, Protocol):
    """A node to compare; `LotusClient` is one."""

    async def close(self) -> None: ...


class NodesAgree:
    """That at least two of several nodes tell the same of the chain and a wallet; asked before a payout is signed."""

    def __init__(self, nodes: Mapping[str, SeparateNode], used: Callable[[], str]) -> None:
        """`nodes` are clients of one node each, by name; `used` names the one that messages are pushed to now."""
        self._nodes = dict(nodes)
        self._used = used

    async def why_not(self, wallet: Address) -> str:
        """Why nothing should be signed now; empty if two nodes agree and none contradicts them.

        The nodes that do not answer are left out, as long as two do.
        """
        answering: dict[str, SeparateNode] = {}
        away = []
        for name, node in self._nodes.items():
            try:
                await node.head()
                answering[name] = node
            except LotusError as error:
                away.append(str(error))
        first = answering.pop(self._used(), None)
        if first is None or not answering:
            return f"two nodes must agree before anything is signed, and too few answer: {'; '.join(away)}"
        for other in answering.values():
            try:
                found = await compare_nodes(first, other, wallet)
            except LotusError as error:
                return f"the nodes cannot be compared: {error}"
            if found:
                return f"two nodes disagree about the {found[0]}; find out which of them is right"
        return ""

    async def close(self) -> None:
        """Release the sockets."""
        for node in self._nodes.values():
            await node.close()


def check_node(config: NodeConfig, found: NodeCapabilities) -> None:
    """Return if the node may be used.

    Raises:
        LotusWrongNetwork: it serves another network than the config names.
        ConfigError: its token is an admin token, and the config does not say that this is meant.
    """
    check_network(found, network_name=config.network, genesis=config.genesis)
    if "admin" in found.permissions and not config.allow_admin_token:
        raise ConfigError([_admin_problem("the node")])


# What Lotus calls the height of nv29 in `ForkUpgradeParams`; `Xx` is its stand-in while an upgrade has no name.
_SOLSTICE_FIELDS = ("UpgradeSolsticeHeight", "UpgradeXxHeight")


def solstice_epoch(version: NetworkVersion, params: NetworkParams) -> Epoch | None:
    """The epoch of the nv29 upgrade, past or planned; None if the node knows of none.

    Raises:
        LotusDecodeError: the network is past nv28 and the node does not say since when.
    """
    for name in _SOLSTICE_FIELDS:
        if name in params.upgrades:
            return params.upgrades[name]
    if version >= SOLSTICE:
        raise LotusDecodeError(
            "StateGetNetworkParams.ForkUpgradeParams", "does not say when network version 29 began"
        )
    return None


class SameChain:
    """That the node still serves the chain it served at the start: nodes are restored, replaced and pointed elsewhere."""

    def __init__(self, node: LotusClient, genesis: Cid) -> None:
        self._node = node
        self._genesis = genesis

    async def check(self) -> None:
        """Return if it does; asked before everything that books, signs or pushes.

        Raises:
            LotusWrongNetwork: its genesis is another.
            LotusUnavailable: it does not answer.
        """
        found = (await self._node.genesis()).key.cids[0]
        if found != self._genesis:
            raise LotusWrongNetwork(
                f"the node now serves another chain: its genesis is {found}, at the start it was {self._genesis}. "
                "Nothing is followed, booked or paid until the node of the first chain is back; for the other chain, "
                "use another data_dir"
            )
