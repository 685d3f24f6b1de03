"""The words of the Filecoin chain, their encodings and signatures, and a typed client of a Lotus node.

Design notes
------------
* Values (`types`, `cid`, `address`, `cbor`, `messages`, `chain`, `state`, the params of `actors`) know nothing of sockets.
  Outside text becomes a value in exactly one place each (`Address.parse`, `Cid.parse`, `codec`), so a value that exists is valid.
* `LotusClient` is one client in layers: the chain (`chain_client`), what miners and clients hold (`miner_client`,
  `holdings_client`), and accounts and messages (`client`). Only `transport` touches the network: a wire (HTTP, WebSocket), the choice
  among several nodes (`failover`) and retries are each a transport around the next. `api_info` reads a Lotus repository's two small files.
* `heads` turns a node's notifications, which come with gaps, into steps without any; `agreement` compares nodes.
* Keys sign here, never on the node: `crypto` (f1), `bls` (f3), `delegated` (f410, whose messages are Ethereum transactions, `eth`).
* Errors are divided by what the caller should do; the tree is drawn in `errors`.
* An address compares by its bytes, never by its text: mainnet prints `f…`, every other network `t…`.
* Money is `AttoFil`, an exact integer; adding a bare int to it is a TypeError on purpose.
"""
