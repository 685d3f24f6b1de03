"""The built-in actors' rules, one module each, as functions of a `Runtime`.

Design notes
------------
* A method takes the runtime and its raw params and returns its raw return; it fails by raising `Abort` with the
  actors' own exit code. Rules, order of effects and events follow builtin-actors v18 (network version 28).
* From network version 29 the rules of FIP-0118 apply where its text is settled; what is our guess says so.
* `CODE` maps an actor's kind to its dispatcher. An actor that is not there does not exist on a devstack network.
"""

from __future__ import annotations

from typing import Final

from devstack.chain.actors import (
    basic,
    datacap,
    eam,
    evm,
    init,
    market,
    miner,
    multisig,
    power,
    reward,
    verifreg,
)
from devstack.chain.machine import ActorCode

__all__ = ["CODE"]

CODE: Final[dict[str, ActorCode]] = {
    "system": basic.system,
    "init": init.invoke,
    "reward": reward.invoke,
    "cron": basic.cron,
    "storagepower": power.invoke,
    "storagemarket": market.invoke,
    "verifiedregistry": verifreg.invoke,
    "datacap": datacap.invoke,
    "account": basic.account,
    "placeholder": basic.placeholder,
    "ethaccount": basic.eth_account,
    "eam": eam.invoke,
    "evm": evm.invoke,
    "multisig": multisig.invoke,
    "storageminer": miner.invoke,
}
