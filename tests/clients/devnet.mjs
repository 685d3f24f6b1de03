// What the test tells each script about the devnet, and how the script answers: one JSON object on standard output.

export const devnet = {
  url: process.env.DEVNET_URL, // http://127.0.0.1:PORT
  token: process.env.DEVNET_TOKEN, // all permissions
  secret: Buffer.from(process.env.DEVNET_SECRET, 'hex'), // the key of alice, who is rich
  alice: process.env.DEVNET_ALICE,
  provider: process.env.DEVNET_PROVIDER,
}

export function answer(found) {
  const text = JSON.stringify(found, (_, value) => (typeof value === 'bigint' ? value.toString() : value))
  process.stdout.write(text + '\n', () => process.exit(0))
}

export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms))
