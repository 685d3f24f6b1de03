"""Collecting signatures over what a job will do, and deciding whether they are enough.

Design notes
------------
* The rules are `fil_plus.approvals` (pure). This package keeps what was signed, asks the node who is who, and decides.
* A signature is verified before it is kept: the book of approvals holds no junk.
* Who is who (owner, beneficiary, the payee's and approvers' other addresses) is asked anew for every decision, because
  owners change. If the node cannot say, the decision waits; it is never made on less.
* Approval never runs a job by itself: `sp_plugin.policy` has the last word.
"""
