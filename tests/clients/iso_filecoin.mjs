// iso-filecoin: a wallet from a mnemonic, FIL to it and back with local signatures, state and events over HTTP.

import { Message } from 'iso-filecoin/message'
import { RPC } from 'iso-filecoin/rpc'
import { Token } from 'iso-filecoin/token'
import * as Wallet from 'iso-filecoin/wallet'

import { answer, devnet } from './devnet.mjs'

const rpc = new RPC({ api: `${devnet.url}/rpc/v1`, token: devnet.token, network: 'testnet' })

async function ask(promise) {
  const { error, result } = await promise
  if (error) throw new Error(`${error.message} ${JSON.stringify(error.cause ?? {})}`)
  return result
}

async function send(account, to, fil) {
  const message = await new Message({
    from: account.address.toString(),
    to,
    value: Token.fromFIL(fil).toAttoFIL().toString(),
  }).prepare(rpc)
  const signature = Wallet.signMessage(account.privateKey, account.type, message)
  const cid = await ask(rpc.pushMessage({ msg: message, signature }))
  const waited = await ask(rpc.waitMsg({ cid, confidence: 1 }))
  return { cid: cid['/'], exit: waited.Receipt.ExitCode }
}

const alice = Wallet.accountFromPrivateKey(new Uint8Array(devnet.secret), 'SECP256K1', 'testnet')
const wallet = Wallet.accountFromMnemonic(
  Wallet.generateMnemonic(),
  'SECP256K1',
  "m/44'/461'/0'/0/0",
  undefined,
  'testnet'
)
const there = await send(alice, wallet.address.toString(), 5)
const back = await send(wallet, devnet.alice, 2)
const head = await ask(rpc.chainHead())
const events = await ask(
  rpc.call({ method: 'Filecoin.GetActorEventsRaw', params: [{ fromHeight: 0 }] })
)
const claims = await ask(
  rpc.call({ method: 'Filecoin.StateGetAllocations', params: [devnet.alice, null] })
)

answer({
  version: (await ask(rpc.version())).Version,
  network: await ask(rpc.networkName()),
  alice: alice.address.toString(),
  wallet: wallet.address.toString(),
  id: (await ask(rpc.stateLookupID({ address: wallet.address.toString() }))).toString(),
  there,
  back,
  balance: await ask(rpc.balance(wallet.address.toString())),
  nonce: await ask(rpc.nonce(wallet.address.toString())),
  height: head.Height,
  allocations: Object.keys(claims).length,
  emitters: [...new Set(events.map((event) => event.emitter))],
})
