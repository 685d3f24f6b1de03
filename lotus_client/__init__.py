"""The words of the Filecoin chain, their encodings and signatures, and a typed client of a Lotus node.

Design notes
------------
* Values (`types`, `cid`, `address`, `cbor`, `messages`, `chain`, `state`) know nothing of sockets. Outside text becomes
  a value in exactly one place each (`Address.parse`, `Cid.parse`, `codec`), so a value that exists is valid.
* Only `transport` touches the network; `api_info` reads a Lotus repository's two small files.
* An address compares by its bytes, never by its text: mainnet prints `f…`, every other network `t…`.
* Money is `AttoFil`, an exact integer; adding a bare int to it is a TypeError on purpose.
"""
