// Glif's message and RPC client with Zondax' signing tools: what the Glif wallet is built of.

import messages from '@glif/filecoin-message'
import numbers from '@glif/filecoin-number'
import rpcClient from '@glif/filecoin-rpc-client'
import signing from '@zondax/filecoin-signing-tools'

import { answer, devnet, sleep } from './devnet.mjs'

const { Message } = messages
const { FilecoinNumber } = numbers
const LotusRpcEngine = rpcClient.default ?? rpcClient
const client = new LotusRpcEngine({ apiAddress: `${devnet.url}/rpc/v1`, token: devnet.token })

async function send(from, secret, to, fil) {
  const nonce = await client.request('MpoolGetNonce', from)
  const draft = new Message({
    to, from, nonce, value: new FilecoinNumber(fil, 'fil').toAttoFil(), method: 0,
    gasPremium: '0', gasFeeCap: '0', gasLimit: 0, params: '',
  })
  const priced = await client.request('GasEstimateMessageGas', draft.toLotusType(), { MaxFee: '0' }, null)
  const { Message: message, Signature } = signing.transactionSignLotus(
    Message.fromLotusType(priced).toLotusType(),
    secret.toString('base64')
  )
  const cid = await client.request('MpoolPush', { Message: message, Signature })
  for (;;) {
    const found = await client.request('StateSearchMsg', null, cid, -1, true)
    if (found !== null) return { cid: cid['/'], exit: found.Receipt.ExitCode }
    await sleep(50)
  }
}

const mnemonic = signing.generateMnemonic()
const wallet = signing.keyDerive(mnemonic, "m/44'/1'/0'/0/0", '')
const there = await send(devnet.alice, devnet.secret, wallet.address, '4')
const back = await send(wallet.address, Buffer.from(wallet.private_base64, 'base64'), devnet.alice, '1')
const events = await client.request('GetActorEventsRaw', { fromHeight: 0 })

answer({
  wallet: wallet.address,
  there,
  back,
  balance: await client.request('WalletBalance', wallet.address),
  power: await client.request('StateMinerPower', devnet.provider, null),
  height: (await client.request('ChainHead')).Height,
  events: events.length,
})
