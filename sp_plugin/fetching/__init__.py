"""Bytes from other people's servers: fetched over HTTP without becoming their way into this network.

Design notes
------------
* A URL comes from a stranger, so what is dialled is decided by address, not by name: a name is resolved once, every address it
  has is checked, and the socket is only opened to one that was checked (`client`). A redirect is a new URL and checked as one.
* `addresses` says which addresses are public. What an operator wants reached in his own network he names (`places`).
* Nothing is decoded: a response is the bytes that were sent, at most as many as allowed, written as they come.
* `downloads` keeps files by the SHA-256 of their bytes; `gateways` reads DAGs block by block, each hashed before it is used.
"""
