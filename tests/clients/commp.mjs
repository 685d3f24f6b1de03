// The piece multihash (FRC-0069) of a file by an implementation in Rust, and MB/s of the hashing alone: commp.mjs FILE [ROUNDS]
import { readFileSync } from 'node:fs'
import * as Hasher from 'fr32-sha2-256-trunc254-padded-binary-tree-multihash'

const payload = readFileSync(process.argv[2])
const CHUNK = 1 << 20

function digest() {
  const hasher = Hasher.create()
  for (let at = 0; at < payload.length; at += CHUNK) hasher.write(payload.subarray(at, at + CHUNK))
  const made = new Uint8Array(hasher.multihashByteLength())
  hasher.digestInto(made, 0, true)
  hasher.free()
  return Buffer.from(made).toString('hex')
}

const rates = []
let found
for (let round = 0; round < Number(process.argv[3] ?? 1); round++) {
  const started = performance.now()
  found = digest()
  rates.push(payload.length / 1000 / (performance.now() - started))
}
console.log(found, Math.max(...rates).toFixed(1))
