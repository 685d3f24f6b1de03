"""The node's JSON-RPC API as Lotus speaks it.

Design notes
------------
* `methods` is the form of a row, `dispatch` runs one call, `server` frames it over HTTP and WebSocket. The rows stand in one
  module per subject (`chain`, `state`, `mpool`, `wallet`, `gas`, `auth_methods`, `events`, `misc`) and `tables` puts
  together what each path serves.
* A method that is not in the table answers as Lotus answers an unknown one. There are no stubs: an answer is
  computed from the chain or not given.
* JSON becomes values in `params`, values become JSON in `encode`, and nowhere else.
"""
