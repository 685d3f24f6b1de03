// @filecoin-shipyard's Lotus client over WebSocket: the node's own wallet, a send, head changes and state.

import { NodejsProvider } from '@filecoin-shipyard/lotus-client-provider-nodejs'
import { LotusRPC } from '@filecoin-shipyard/lotus-client-rpc'
import { mainnet } from '@filecoin-shipyard/lotus-client-schema'

import { answer, devnet, sleep } from './devnet.mjs'

const url = `${devnet.url.replace('http:', 'ws:')}/rpc/v0`
const provider = new NodejsProvider(url, { token: devnet.token })
const client = new LotusRPC(provider, { schema: mainnet.fullNode })

const changes = []
const [cancel, subscribed] = client.chainNotify((batch) => changes.push(...batch))
await subscribed

const wallet = await client.walletNew('secp256k1')
const pushed = await client.mpoolPushMessage(
  {
    Version: 0, To: wallet, From: devnet.alice, Nonce: 0, Value: '3000000000000000000',
    GasLimit: 0, GasFeeCap: '0', GasPremium: '0', Method: 0, Params: '',
  },
  null
)
const waited = await client.stateWaitMsg(pushed.CID, 1)
const info = await client.stateMinerInfo(devnet.provider, [])
while (changes.length < 4) await sleep(50)
await cancel()
const receipts = await client.chainGetParentReceipts((await client.chainHead()).Cids[0])

answer({
  version: (await client.version()).APIVersion,
  wallet,
  listed: (await client.walletList()).includes(wallet),
  nonce: pushed.Message.Nonce,
  exit: waited.Receipt.ExitCode,
  balance: await client.walletBalance(wallet),
  worker: info.Worker,
  sectorSize: info.SectorSize,
  changes: changes.map((change) => change.Type),
  heights: changes.map((change) => change.Val.Height),
  receipts: receipts === null ? 0 : receipts.length,
})
