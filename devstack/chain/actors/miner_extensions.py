"""ExtendSectorExpiration2: longer lives for sectors, with or without claims (actors.md §7)."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from devstack.chain.actors import policy
from devstack.chain.actors.miner_state import Change, require_key
from devstack.chain.machine import Abort, Exit, Runtime
from lotus_client import cbor
from lotus_client.actors import wire
from lotus_client.actors.methods import VERIFIED_REGISTRY, VerifregMethod
from lotus_client.actors.miner_updates import (
    ExpirationExtension,
    ExtendSectorExpirationParams,
    SectorClaim,
)
from lotus_client.actors.verifreg import RemoveExpiredParams
from lotus_client.actors.wire import BatchReturn
from lotus_client.state import SectorOnChainInfo
from lotus_client.types import EPOCHS_PER_DAY, AttoFil, Epoch

__all__ = ["extend_expiration"]

_DROP_PERIOD: Final = 30 * EPOCHS_PER_DAY  # policy: end_of_life_claim_drop_period
_MAX_SECTORS: Final = 25_000


def extend_expiration(runtime: Runtime, wanted: ExtendSectorExpirationParams) -> bytes:
    """Every sector lives until its new expiration; the claims themselves and the pledge stay as they are."""
    change = Change(runtime, require_key(runtime))
    for extension in wanted.extensions:
        _extend(change, extension)
    change.commit()
    return b""


def _extend(change: Change, extension: ExpirationExtension) -> None:
    runtime, state = change.runtime, change.state
    runtime.require(
        extension.sectors.count <= _MAX_SECTORS, Exit.ILLEGAL_ARGUMENT, "too many sectors"
    )
    claims = {one.sector: one for one in extension.sectors_with_claims}
    plain = list(extension.sectors)
    numbers = [*plain, *claims]
    for good, why in (
        (len(claims) == len(extension.sectors_with_claims), "a sector is listed twice"),
        (not claims.keys() & set(plain), "a sector is listed with and without claims"),
        (extension.deadline < policy.DEADLINES, "no such deadline"),
    ):
        runtime.require(good, Exit.ILLEGAL_ARGUMENT, why)
    partitions = state.deadlines[extension.deadline].partitions
    if extension.partition >= len(partitions):
        raise Abort(Exit.NOT_FOUND, f"no partition {extension.partition}")
    missing = [number for number in numbers if number not in state.sectors]
    runtime.require(not missing, Exit.NOT_FOUND, f"no sectors {missing}")
    active = partitions[extension.partition].active
    runtime.require(set(numbers) <= active, Exit.FORBIDDEN, "a sector is not active there")
    longer = {
        number: _longer(
            runtime, state.sectors[number], extension.new_expiration, claims.get(number)
        )
        for number in numbers
    }
    change.drop_power(numbers)
    change.state = replace(state, sectors=state.sectors.with_(longer))
    change.add_power(numbers)


def _longer(
    runtime: Runtime, sector: SectorOnChainInfo, expiration: int, claims: SectorClaim | None
) -> SectorOnChainInfo:
    """The sector with its new expiration, power counted anew from now on."""
    now, size = runtime.epoch, runtime.config.sector_size
    life = expiration - sector.activation
    for good, why in (
        (expiration >= sector.expiration, "the expiration would come sooner"),
        (expiration <= now + policy.MAX_SECTOR_EXTENSION, "the expiration is too far"),
        (policy.MIN_SECTOR_LIFE <= life <= policy.MAX_SECTOR_LIFE, "the life is out of bounds"),
    ):
        runtime.require(good, Exit.ILLEGAL_ARGUMENT, why)
    runtime.require(sector.expiration > now, Exit.FORBIDDEN, "the sector has expired")
    before, after = sector.expiration - sector.power_base_epoch, expiration - now
    if runtime.network_version >= 29:  # claims are ignored, the recorded ratio stays (FIP-0118)
        verified = sector.verified_deal_weight * after // before
    else:
        space = _verified_space(runtime, sector, expiration, claims, before)
        verified = space * after
    changed = replace(
        sector,
        expiration=Epoch(expiration),
        power_base_epoch=Epoch(now),
        # what is left of the old term: it has no effect on power
        deal_weight=sector.deal_weight * (sector.expiration - now) // before,
        verified_deal_weight=verified,
    )
    old_qap = policy.sector_power(sector, size)[1]
    new_qap = policy.sector_power(changed, size)[1]
    if new_qap != old_qap:
        changed = replace(changed, daily_fee=AttoFil(sector.daily_fee.value * new_qap // old_qap))
    return changed


def _verified_space(
    runtime: Runtime,
    sector: SectorOnChainInfo,
    expiration: int,
    listed: SectorClaim | None,
    duration: int,
) -> int:
    """Verified bytes that the sector keeps; all that it has must be accounted for by claims."""
    recorded = sector.verified_deal_weight // duration
    if listed is None:
        runtime.require(
            recorded == 0, Exit.ILLEGAL_ARGUMENT, f"sector {sector.number} is listed without claims"
        )
        return 0
    kept = _claims(runtime, sector, listed.maintain_claims)
    dropped = _claims(runtime, sector, listed.drop_claims)
    runtime.require(
        all(end >= expiration for _, end in kept),
        Exit.FORBIDDEN,
        "a kept claim ends before the new expiration",
    )
    total = sum(size for size, _ in (*kept, *dropped))
    runtime.require(
        total == recorded, Exit.ILLEGAL_ARGUMENT, f"claims of {total} bytes, {recorded} recorded"
    )
    runtime.require(
        not dropped or runtime.epoch >= sector.expiration - _DROP_PERIOD,
        Exit.FORBIDDEN,
        "claims are dropped in a sector's last 30 days only",
    )
    return sum(size for size, _ in kept)


def _claims(
    runtime: Runtime, sector: SectorOnChainInfo, ids: tuple[int, ...]
) -> list[tuple[int, int]]:
    """(size, last epoch) of this miner's claims as f06 says; each must be of this sector."""
    if not ids:
        return []
    asked = RemoveExpiredParams(runtime.receiver, ids).to_cbor()
    raw = runtime.must_send(VERIFIED_REGISTRY, VerifregMethod.GET_CLAIMS, asked)
    results, found = wire.fields(cbor.decode(raw), 2, "GetClaims return")
    batch = BatchReturn.from_value(results)
    runtime.require(not batch.fail_codes, Exit.ILLEGAL_ARGUMENT, "a claim does not exist")
    claims = []
    for one in found:
        _, _, _, size, _, term_max, term_start, number = wire.fields(one, 8, "claim")
        runtime.require(
            number == sector.number, Exit.ILLEGAL_ARGUMENT, "a claim is of another sector"
        )
        claims.append((size, term_start + term_max))
    return claims
