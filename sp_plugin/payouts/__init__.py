"""Paying people exactly once: what to pay, who approved it, and messages that survive any crash.

Design notes
------------
* `states` is the state machine as a table, `decide`, `batch` and `booking` are pure, `sender` acts (`following` what
  became of signed payouts, `outbox` gives their bytes to a node), `funding` watches the payout wallet, `ports` says what
  is needed of a node and of a signer.
* One payout has one nonce. Signed bytes are committed to the store before the first push; after any crash the same
  bytes are pushed again, and two messages of one nonce can never both be executed. A replacement keeps nonce,
  recipient and amount and raises only the fees, under a cap; all its siblings are kept.
* The wallet is ours alone. A message from it that we did not sign, or a nonce used up by something else, halts all
  sending until a person has looked.
* Only what is *final* reaches the ledger. A reorg takes an included payout back to `sent`, never to a new payment.
* A message that landed with an exit code other than 0 moved no value: its payout is `failed`, its gas is booked,
  and the amount is due again.
* The gas of a payout is computed from receipt, header and message by the chain's own rule (`fees.gas_cost`), so it
  can be recomputed by anybody, and `ledger check` compares the wallet with the chain.
* By default nothing is sent: `SenderSettings.enabled` is false until the operator says otherwise.
"""
