"""What verified data is and what it earns: held pieces, power, awards, attribution, vesting, approvals.

Design notes
------------
* Nothing here reads a clock, a node or a file: every function is a pure function of its arguments, so a statement can be
  recomputed years later from the recorded inputs.
* The unit is a *held piece* (`pieces`), not a claim: from network version 29 ("Solstice", FIP-0118) data may be held
  without allocation and claim.
* Power is computed with the actors' own integers (`power`); if our sum differs from the chain's, the result is *unknown*
  with a reason, never a guess.
* Shares are basis points of what was really credited (`awards`), floored once per (win, payee, job); the provider keeps the
  remainder, so the parts always add up to the whole (`attribution`).
* An approval is a signature over the digest of everything a job will do (`approvals`): change one byte and it is void.
"""
