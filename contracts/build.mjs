// Compiles the contracts beside it into <Contract>.json. Needs `npm install solc@0.8.37`; run as `node build.mjs`
// with NODE_PATH or a node_modules folder that holds it. The tests check that sources and artifacts belong together.
import fs from "node:fs";
import path from "node:path";
import { createRequire } from "node:module";

const here = path.dirname(new URL(import.meta.url).pathname);
const solc = createRequire(path.join(process.cwd(), "x.js"))("solc");
const names = fs.readdirSync(here).filter((name) => name.endsWith(".sol")).sort();
const sources = Object.fromEntries(
  names.map((name) => [name, { content: fs.readFileSync(path.join(here, name), "utf8") }]),
);
const settings = {
  evmVersion: "shanghai",
  viaIR: true,
  optimizer: { enabled: true, runs: 200 },
  outputSelection: { "*": { "*": ["abi", "metadata", "evm.bytecode.object"] } },
};
const output = JSON.parse(solc.compile(JSON.stringify({ language: "Solidity", sources, settings })));
for (const problem of output.errors ?? []) {
  console.error(problem.formattedMessage);
  if (problem.severity === "error") process.exit(1);
}
for (const file of names) {
  for (const [contract, made] of Object.entries(output.contracts[file])) {
    const artifact = {
      contract,
      source: file,
      compiler: solc.version(),
      abi: made.abi,
      bytecode: "0x" + made.evm.bytecode.object,
      metadata: made.metadata,
    };
    fs.writeFileSync(path.join(here, `${contract}.json`), JSON.stringify(artifact, null, 1) + "\n");
  }
}
