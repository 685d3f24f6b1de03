"""Checks of everything the sidecar needs, run one after another; a failed one never stops the rest it does not concern."""

from __future__ import annotations

import importlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from deals.event_sources import EventReader, EventsApi, Receipts, SourceName, Stretch
from deals.event_sources.base import ChainChanged
from deals.gaps import Gap
from deals.kernels import KernelUnavailable, current_kernel
from deals.kernels.native import native_kernels
from lotus_client.client import LotusClient
from lotus_client.errors import LotusError
from lotus_client.node import NodeCapabilities
from sp_plugin.config import Config
from sp_plugin.config.notes import config_notes
from sp_plugin.errors import SpPluginError
from sp_plugin.executors.base import EngineUnavailable
from sp_plugin.guard.checks import check_guard
from sp_plugin.miner import connect_miner
from sp_plugin.node import check_node, connect_each, connect_node
from sp_plugin.piece_sources import piece_source
from sp_plugin.store.chain import ChainRepository
from sp_plugin.store.migrate import open_store
from sp_plugin.transfer_checks import examine_transfers
from sp_plugin.treasury import shared_keys
from sp_plugin.wallet import connect_wallet
from sp_plugin.workshop import executor_settings

__all__ = ["Check", "examine"]

_PACKAGES: Final = ("lotus_client", "fil_plus", "deals", "sp_plugin", "devstack")
_LEAST_FREE: Final = 5 << 30


@dataclass(frozen=True, slots=True)
class Check:
    """One question with its answer; `detail` says what was found, and what to do if it is not well."""

    name: str
    ok: bool
    detail: str


async def examine(config: Config) -> list[Check]:
    """All checks, in the order in which they should be mended."""
    checks = [*_packages(), *_notes(config), *_disk(config), *_kernel()]
    checks += await _containers(config)
    checks += await _store(config)
    checks += [Check(*found) for found in await examine_transfers(config)]
    try:
        async with connect_node(config.node) as node:
            checks += await _node(config, node)
    except (LotusError, SpPluginError) as error:
        checks.append(Check("node", ok=False, detail=str(error)))
    return checks


def _packages() -> Iterator[Check]:
    """Our top-level names are short: another distribution could stand before them on the path."""
    places = {
        name: Path(importlib.import_module(name).__file__ or "?").parent.parent
        for name in _PACKAGES
    }
    strange = [
        f"{name} comes from {place}"
        for name, place in places.items()
        if place != places["sp_plugin"]
    ]
    yield Check("packages", not strange, "; ".join(strange) or f"all from {places['sp_plugin']}")


def _notes(config: Config) -> Iterator[Check]:
    yield Check("configuration", ok=True, detail="valid")
    for note in config_notes(config):
        yield Check("note", ok=True, detail=note)


def _disk(config: Config) -> Iterator[Check]:
    place = config.data_dir
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    yield Check(
        "data_dir",
        free >= _LEAST_FREE,
        f"{config.data_dir}: {free >> 30} GiB free, at least {_LEAST_FREE >> 30} are needed",
    )


def _kernel() -> Iterator[Check]:
    """A missing extension is silent: everything works, only slower."""
    try:
        name = current_kernel().name
    except KernelUnavailable as error:
        yield Check("CommP kernel", ok=False, detail=f"SP_PLUGIN_KERNEL: {error}")
        return
    native = any(kernel.name == name for kernel in native_kernels())
    slow = "" if native else "; install with a C compiler (gcc or clang) for a ten times faster one"
    yield Check("CommP kernel", ok=True, detail=f"{name}{slow}")


async def _containers(config: Config) -> list[Check]:
    """The container engine, where jobs may use it: what it is, and what it can bound, tried."""
    docker = config.jobs.docker
    if not docker.enabled:
        return []
    from sp_plugin.executors.docker import DockerExecutor
    from sp_plugin.executors.docker.report import report

    # Tried where runs will be, unless that is not there yet.
    where = config.data_dir if os.access(config.data_dir, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="doctor-", dir=where) as place:
        owner = f"sp-plugin-doctor-{config.data_dir}"
        folder = Path(place)
        executor = DockerExecutor(
            executor_settings(config, cache_dir=folder, runs_dir=folder, owner=owner)
        )
        try:
            with suppress(EngineUnavailable):
                await executor.remove_leftovers()  # of a doctor that was killed
            findings = await report(executor, docker.runtime, docker.io_bytes_per_second)
        finally:
            await executor.close()
    return [Check(found.name, found.ok, found.detail) for found in findings]


async def _store(config: Config) -> list[Check]:
    if not config.data_dir.exists() and config.database.url is None:
        return [Check("database", ok=True, detail="will be made at the first start")]
    try:
        store = await open_store(config.database_url)
    except SpPluginError as error:
        return [Check("database", ok=False, detail=str(error))]
    try:
        gaps = await ChainRepository(store).gaps(config.provider.actor)
    finally:
        await store.close()
    return [Check("database", ok=True, detail="opens, migrated to this version"), *_gaps(gaps)]


def _gaps(gaps: Sequence[Gap]) -> Iterator[Check]:
    """Epochs that could not be read: a node must be found that has them, or they stay unknown."""
    if gaps:
        found = [f"{gap.from_epoch} to {gap.to_epoch - 1}: {gap.reason}" for gap in gaps]
        yield Check(
            "unread epochs",
            ok=False,
            detail=f"{'; '.join(found)}. Nothing is earned or paid for what is not known there; `run` tries them again "
            "every ten minutes, at each node of node.endpoints: name one that kept that part of the chain",
        )


async def _node(config: Config, node: LotusClient) -> list[Check]:
    found = await node.probe()
    checks = [
        Check("node", ok=True, detail=f"{found.software} answers"),
        *await _other_nodes(config),
    ]
    try:
        check_node(config.node, found)
    except (LotusError, SpPluginError) as error:
        checks.append(Check("network and token", ok=False, detail=str(error)))
        return checks
    checks.append(
        Check(
            "network and token",
            ok=True,
            detail=f"{found.network_name}, {', '.join(found.permissions)}",
        )
    )
    needs_write = config.payouts.enabled and not config.payouts.dry_run
    checks.append(
        Check(
            "permission to push",
            not needs_write or found.may_push,
            "not needed" if not needs_write else "a token with `write` is needed for MpoolPush",
        )
    )
    checks.append(await _events(config, node))
    checks += _abilities(found)
    info = await node.miner_info(config.provider.actor)
    checks.append(Check("provider", ok=True, detail=f"sector size {info.sector_size >> 20} MiB"))
    checks += _storage(config, info.sector_size)
    checks += await _miner(config)
    checks += await _guard(config, node, found)
    checks += await _signer(config, node)
    return checks


def _abilities(found: NodeCapabilities) -> Iterator[Check]:
    """What is not the operator's mistake, but decides how fast and how well the rest works."""
    yield Check("finality", ok=True, detail=f"read from {found.finality}")
    if found.has_receipt_events is False:
        yield Check(
            "events of receipts",
            ok=True,
            detail="not served; where they are needed, traces are read",
        )
    missing = found.missing_methods
    yield Check(
        "methods",
        not missing,
        "all that are used are served"
        if not missing
        else f"{found.agent} does not serve {', '.join(missing)}: what needs them will fail; "
        "name a full node first, or as a further one in node.endpoints",
    )


async def _other_nodes(config: Config) -> list[Check]:
    """Each further node by itself, since it will be needed when the first is away."""
    checks = []
    for name, node in list(connect_each(config.node).items())[1:]:
        try:
            async with node:
                found = await node.probe()
                check_node(config.node, found)
        except (LotusError, SpPluginError) as error:
            checks.append(Check(f"node {name}", ok=False, detail=str(error)))
        else:
            detail = f"{found.software} answers"
            checks.append(Check(f"node {name}", ok=True, detail=detail))
    return checks


async def _events(config: Config, node: LotusClient) -> Check:
    """Which source of events this node has, tried on the newest executed tipset."""
    head = await node.head()
    if not head.parents:
        return Check(
            "actor events", ok=True, detail="the chain is at genesis: nothing to try it on"
        )
    provider = config.provider.actor
    reader = EventReader((EventsApi(node, provider), Receipts(node, provider)), again=1)
    try:
        await reader.read(Stretch((await node.tipset(head.parents),), head))
    except ChainChanged:
        return Check(
            "actor events", ok=True, detail="the head changed while it was asked; run again"
        )
    status = reader.status
    assert status is not None
    if status.name is SourceName.EVENTS_API:
        return Check("actor events", ok=True, detail="served")
    return Check(
        "actor events",
        ok=False,
        detail=f"read from {status.name.value} instead ({status.why}); lost: {status.lost}. Set [Events] "
        "EnableActorEventsAPI and [ChainIndexer] EnableIndexer to true in the node's config.toml",
    )


def _storage(config: Config, sector_size: int) -> Iterator[Check]:
    provider = config.provider
    try:
        source = piece_source(provider, sector_size)
    except SpPluginError as error:
        yield Check("storage", ok=False, detail=str(error))
        return
    if source is not None:
        problems = source.problems()
        paths, others = len(provider.storage_paths), len(provider.sources)
        found = f"{paths} storage path{'' if paths == 1 else 's'} with unsealed/"
        if others:
            found += f", {others} other source{'' if others == 1 else 's'}"
        yield Check("storage", not problems, "; ".join(problems) or found)


async def _miner(config: Config) -> list[Check]:
    """lotus-miner's API, where one is named: it must be this provider's."""
    try:
        miner = connect_miner(config.provider.miner)
    except SpPluginError as error:
        return [Check("miner API", ok=False, detail=str(error))]
    if miner is None:
        return []
    async with miner:
        try:
            actor = await miner.actor_id()
        except LotusError as error:
            return [Check("miner API", ok=False, detail=str(error))]
    ok = actor == config.provider.actor
    detail = "answers" if ok else f"is that of f0{actor}, not of f0{config.provider.actor}"
    return [Check("miner API", ok, detail)]


async def _guard(config: Config, node: LotusClient, found: NodeCapabilities) -> list[Check]:
    try:
        miner = connect_miner(config.provider.miner)
    except SpPluginError:  # the check of the miner's API has said so
        miner = None
    try:
        ok, detail = await check_guard(config, node, found.block_delay_seconds, miner)
    finally:
        if miner is not None:
            await miner.close()
    return [Check("guard", ok, detail)]


async def _signer(config: Config, node: LotusClient) -> list[Check]:
    payouts = config.payouts
    if payouts.wallet is None:
        return [Check("payouts", ok=True, detail="off: payouts.wallet names no address")]
    balance = await node.balance(payouts.wallet)
    checks = [
        Check(
            "payout wallet",
            balance <= payouts.max_float_fil,
            f"holds {balance.to_fil()} FIL"
            if balance <= payouts.max_float_fil
            else f"holds {balance.to_fil()} FIL, more than payouts.max_float_fil "
            f"({payouts.max_float_fil.to_fil()}): send the rest back to the owner, or raise it",
        )
    ]
    if payouts.signer.api_info_file is None:
        return checks
    wallet = connect_wallet(payouts.signer.api_info_file)
    try:
        keys = await wallet.keys()
        shared = await shared_keys(wallet, node, config.provider.actor)
    finally:
        await wallet.close()
    checks.append(
        Check(
            "signer",
            payouts.wallet in keys,
            f"holds the key of {payouts.wallet}"
            if payouts.wallet in keys
            else f"holds {len(keys)} keys, none of them that of payouts.wallet: import it there, or mend payouts.wallet",
        )
    )
    checks.append(
        Check(
            "signer's other keys",
            not shared or payouts.allow_shared_wallet,
            f"also holds {', '.join(map(str, shared))} of the provider: payouts stay off unless "
            "allow_shared_wallet is true; use a lotus-wallet with the payout key only"
            if shared
            else "none of the provider's",
        )
    )
    return checks
