"""The sidecar's HTTP API: Bacalhau's orchestrator routes, our own under `/api/v1/sp`, health and metrics.

Design notes
------------
* Every handler is marked with the scope it needs (`auth.needs`); one without a mark is open to nobody.
* Handlers read a request, call one part and shape its answer; no rule of the product lives here.
* Errors are Bacalhau's envelope; clients look at status and keys, people at the message and the hint.
"""
