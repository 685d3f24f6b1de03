"""What a storage provider's software offers besides the chain: lotus-miner alone, Boost next to it, or Curio instead.

| flavour | RPC of its own | pieces over HTTP | files |
|---|---|---|---|
| `lotus-miner` | miner API on 2345 | `/remote` (admin token, Fr32) | `miner/`, as `$LOTUS_MINER_PATH` |
| `boost` | the same | and booster-http on 7777: `/piece`, `/ipfs` | the same |
| `curio` | Curio's few methods on 12300, no miner API | `/remote` on 12300, market HTTP on 12310: `/piece`, `/ipfs` | `curio/` |

Design notes
------------
* The sealing itself is the same simulated provider in all three, so a test can change the flavour and nothing else.
* Both HTTP servers read the unsealed files on disk each time, as the real ones do: delete a file and the piece is sealed.
* Sources: Boost `cmd/booster-http` (piecehandler.go, frisbii/), Curio `market/retrieval`, `cuhttp`, `cmd/curio/rpc`, and
  Go's `net/http` ServeContent and DetectContentType, which both use.
* Left out: Boost's GraphQL and index directory, Curio's database, mk20 deals, PDP, and the compression of its answers.
"""

from devstack.flavours.kinds import Flavour, NotOfThisFlavour

__all__ = ["Flavour", "NotOfThisFlavour"]
