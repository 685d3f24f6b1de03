"""Checking a statement against a node, without the sidecar's store: any node of the network that still has the state.

Nothing in the statement is believed: headers, award traces, power, sectors, claims, messages, receipts and balances are
read again, and every line is computed anew by its own formula. What a node cannot answer (pruned state) is a failed
check that says so, never a pass.

Information only, believed and not checked: the terms themselves (they stand in the job's approved bundle, which the payee
has), `solstice_epoch` and `capital_cost_apr_bps` of the settings as the operator's, a period's `unknown_wins`, the lists
`unknown_wins` and `open_period` (what is not divided yet), a period's `released_to` beyond the step it is in, `leaves` and
`sector_size` of a period without lines, the counted bytes of a budget (only that there are some), that a sub-piece lies in its
piece (only that it has room there; `sp_plugin.statement_proofs` checks the proofs), and `ledger` (an anchor to compare with a later `ledger show`).
Of a bonus for use, and of a budget that shares a win with others', the audit knows an upper bound only, for the other
payees are not in the statement. Wins that a statement leaves out are not looked for.

Design notes
------------
* `statement` runs all checks and makes the report; `chain` says what is needed of a node. `wins` reads a win from it once;
  `lines`, `shares`, `costs` and `payments` compare with it. What needs no chain is in `sp_plugin.statement_checks`.
* `shares` and `costs` go through the periods in order, for budgets and deficits pass from one to the next.
"""
