// ethers: a new wallet, FIL to it from a native account's 0x form, a payment with a receipt, blocks and logs.

import { JsonRpcProvider, Wallet, parseEther } from 'ethers'

import { answer, devnet } from './devnet.mjs'

const provider = new JsonRpcProvider(`${devnet.url}/rpc/v1`, undefined, { pollingInterval: 100, batchMaxCount: 1 })
const wallet = Wallet.createRandom(provider)
const other = Wallet.createRandom(provider)

async function native(method, ...params) {
  const response = await fetch(`${devnet.url}/rpc/v1`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', Authorization: `Bearer ${devnet.token}` },
    body: JSON.stringify({ jsonrpc: '2.0', id: 1, method: `Filecoin.${method}`, params }),
  })
  const { result, error } = await response.json()
  if (error) throw new Error(error.message)
  return result
}

const address = await native('EthAddressToFilecoinAddress', wallet.address)
const funding = await native(
  'MpoolPushMessage',
  {
    Version: 0, To: address, From: devnet.alice, Nonce: 0, Value: '10000000000000000000',
    GasLimit: 0, GasFeeCap: '0', GasPremium: '0', Method: 0, Params: '',
  },
  null
)
const funded = await native('StateWaitMsg', funding.CID, 1, -1, true)
const before = await provider.getBalance(wallet.address)
const sent = await wallet.sendTransaction({ to: other.address, value: parseEther('2.5') })
const receipt = await sent.wait()
const block = await provider.getBlock(receipt.blockNumber)
const logs = await provider.getLogs({ fromBlock: 0, toBlock: 'latest' })
await provider.destroy()

answer({
  chain: (await native('EthChainId')).toString(),
  address,
  funded: funded.Receipt.ExitCode,
  before,
  status: receipt.status,
  other: await native('WalletBalance', await native('EthAddressToFilecoinAddress', other.address)),
  nonce: await native('MpoolGetNonce', address),
  included: block.transactions.includes(sent.hash),
  logs: logs.length,
})
