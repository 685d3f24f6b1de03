"""The actors bundle: which code CIDs the actors have, and the manifest that lists them.

v18.0.0 for 2k networks, from Lotus `build/builtin_actors_gen.go`: the tools decode a state by its actor's code CID, so
these are the ones that `lotus` builds for 2k networks know. The order is that of the bundle's manifest.
"""

from __future__ import annotations

from typing import Final

from devstack.ipld.linked import Linked
from lotus_client import cbor
from lotus_client.cid import Cid, dag_cbor_cid

__all__ = ["CODE_CIDS", "MANIFEST", "MANIFEST_DATA"]

CODE_CIDS: Final = {
    name: Cid.parse(text)
    for name, text in {
        "system": "bafk2bzacedced5maxljwmavukjvtnmknpzoullfcwk3upaz5x5hvvdl2pk24e",
        "init": "bafk2bzaced23vlf6nemlulavy2ouxuvudxe3jbu4klc74tcgruafrqu2fnt3c",
        "cron": "bafk2bzacedrv5m6tczd6dz6ly3zmenkljnokovduvgkbmgxvsawbalerciieg",
        "account": "bafk2bzacedpmhtrp2kdjoga2phrbi3f7z7wn25s3tluxoagcu7hsg2ppktxbw",
        "storagepower": "bafk2bzacebydegz3ap6xgejojdu3usfddhyrj476f25ooahgcqko6d7djynas",
        "storageminer": "bafk2bzacedhvcxgdz2w75izwa5s5dwvsrxsnzkjcbpbresziyrrjrsvjzwvxe",
        "storagemarket": "bafk2bzacecjrg6jueodndhwtkaa3n2v2tkjakmzu4c57hrhg5ige4d4kjggcg",
        "paymentchannel": "bafk2bzacecf3jaqzs757hmyxpthnj7vaxr2z6h5v6yubptvqasgabxiubeoim",
        "multisig": "bafk2bzacecquc4zxikmjfwsiyzx4tbxlsvauf53c7spf3hdz6jwmkczyqwbrg",
        "reward": "bafk2bzacedchalmz2omgitfunbqg5opzcvrlvju77k6dr5zt2poyy7jjzkvwa",
        "verifiedregistry": "bafk2bzaceccqnqgyehy72nkmujvpyibikslvpyxfhpqivzjmbkmdbme5xzm2u",
        "datacap": "bafk2bzaceamho7atkl2a7c3m3t24v6tf3wzceaewp3ph6rjmwza3xdy3gmqb6",
        "placeholder": "bafk2bzacedfvut2myeleyq67fljcrw4kkmn5pb5dpyozovj7jpoez5irnc3ro",
        "evm": "bafk2bzacec273j42hyrcaeqms6xuuezkozjhptmyniwtr7y4jzjdoflccn2is",
        "eam": "bafk2bzaceaxpy4ilqlibpgytnt5ucmju2ooi3bqwca6dngwy6hlzmshyjpafw",
        "ethaccount": "bafk2bzacedsbwrrjywdmxeluuzwfhmam2jmrm6ivj72ggw6qaijcx7ilw5fvk",
    }.items()
}


class _Block:
    """A block without links to other state."""

    def __init__(self, block: bytes) -> None:
        self.block = block
        self.cid = dag_cbor_cid(block)

    def links(self) -> tuple[Linked, ...]:
        return ()


# f00's state names the list; the manifest is that with its version in front.
MANIFEST_DATA: Final = _Block(cbor.encode([[name, code] for name, code in CODE_CIDS.items()]))
MANIFEST: Final = _Block(cbor.encode([1, MANIFEST_DATA.cid]))
