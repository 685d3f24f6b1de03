"""Stands in for lotus, lotus-miner, lotus-seed, lotus-shed and docker in tests: records each call and behaves like it.

It is run under the name of the program. `$FAKE_LOTUS_LOG` is where calls go, one JSON object for each line; `$FAKE_LOTUS_FAIL`
names a word of a command line that fails once, `$FAKE_LOTUS_VERSION` changes what `--version` prints.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

LOG = Path(os.environ["FAKE_LOTUS_LOG"])
NAME, WORDS = Path(sys.argv[0]).name, sys.argv[1:]
KEPT = ("LOTUS_", "FIL_PROOFS_", "FULLNODE_")
SIGNERS = (
    "t3n5xgk33omvxw4zlpnzsw63tfn5xgk33omvxw4zlpnzsw63tfn5xgk33omvxw4zlpnzsw63tfn5xgkjikjola",
    "t3or3w65dxn52ho33uo5xxi53por3w65dxn52ho33uo5xxi53por3w65dxn52ho33uo5xxi53por3w6dtyl6ha",
)
OWNER = "t3oruhezlforuhezlforuhezlforuhezlforuhezlforuhezlforuhezlforuhezlforuhezlforuhfkh7v2wq"


def option(name: str) -> str:
    return next(word.partition("=")[2] for word in WORDS if word.startswith(f"--{name}="))


def record(**more: object) -> None:
    environment = {key: value for key, value in os.environ.items() if key.startswith(KEPT)}
    with LOG.open("a") as log:
        log.write(json.dumps({"program": NAME, "words": WORDS, "env": environment, **more}) + "\n")


def serve(*daemons: tuple[int, Path]) -> None:
    """Daemons: write their tokens, answer `Version` and end at SIGTERM or SIGINT."""
    import http.server
    import threading

    class Answers(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.dumps({"jsonrpc": "2.0", "id": 1, "result": {"APIVersion": 66816}}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    def stop(*_: object) -> None:
        record(stopped=True)
        os._exit(0)

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    for port, repo in daemons:
        repo.mkdir(parents=True, exist_ok=True)
        server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Answers)
        (repo / "token").write_text(f"token-of-{repo.name}")
        threading.Thread(target=server.serve_forever, daemon=True).start()
    signal.pause()


def listen_port() -> int:
    return int(os.environ["LOTUS_API_LISTENADDRESS"].split("/")[4])


def compose_up(file: Path) -> None:
    """What the containers would do, without them: both ports answer, the repos have tokens."""
    ports = [line.split(":")[1] for line in file.read_text().splitlines() if "- 127.0.0.1:" in line]
    root = file.parent.parent
    serve(*zip(map(int, ports), (root / "lotus", root / "miner"), strict=True))


def keyinfo() -> None:
    output = Path(option("output"))
    address = SIGNERS[int(output.stem[-1])]
    output.write_text("7b7d")
    sys.stdout.write(f"{address}\n")


def pre_seal() -> None:
    folder = Path(WORDS[0].partition("=")[2])
    miner = {"Owner": OWNER, "Worker": OWNER, "SectorSize": 8 << 20, "Sectors": [{}, {}]}
    (folder / "pre-seal-t01000.json").write_text(json.dumps({"t01000": miner}))
    (folder / "pre-seal-t01000.key").write_text("7b7d")


def genesis(action: str) -> None:
    file = Path(WORDS[-1]) if action != "add-miner" else Path(WORDS[-2])
    if action == "new":
        template = {"NetworkName": option("network-name"), "Accounts": [], "Miners": []}
        file.write_text(json.dumps(template))
        return
    template = json.loads(file.read_text())
    if action == "set-signers":
        signers = [word.partition("=")[2] for word in WORDS if word.startswith("--signers=")]
        meta = {"Signers": signers, "Threshold": int(option("threshold"))}
        template["VerifregRootKey"] = {"Type": "multisig", "Meta": meta}
    else:
        (miner,) = json.loads(Path(WORDS[-1]).read_text()).values()
        template["Miners"].append(miner)
        account = {"Type": "account", "Balance": "5" + "0" * 25, "Meta": {"Owner": miner["Owner"]}}
        template["Accounts"].append(account)
    file.write_text(json.dumps(template))


def main() -> None:
    if WORDS == ["--version"]:
        version = os.environ.get("FAKE_LOTUS_VERSION", "1.36.2+2k+git.b835fab7")
        sys.stdout.write(f"{NAME} version {version}\n")
        return
    record()
    failing = os.environ.get("FAKE_LOTUS_FAIL", "")
    marker = LOG.with_name("failed")
    if failing and failing in WORDS and not marker.exists():
        marker.touch()
        sys.stderr.write("ERROR: no space left on device\n")
        raise SystemExit(3)
    match [NAME, *WORDS]:
        case ["lotus-shed", "keyinfo", "new", *_]:
            keyinfo()
        case ["lotus-seed", _, "pre-seal", *_]:
            pre_seal()
        case ["lotus-seed", "genesis", action, *_]:
            genesis(action)
        case ["lotus", "daemon", *rest]:
            for word in rest:
                if word.startswith("--lotus-make-genesis="):
                    Path(word.partition("=")[2]).write_text("car")
            serve((listen_port(), Path(os.environ["LOTUS_PATH"])))
        case ["lotus-miner", "init", *_]:
            Path(os.environ["LOTUS_MINER_PATH"]).mkdir(parents=True)
        case ["lotus-miner", "run", *_]:
            serve((listen_port(), Path(os.environ["LOTUS_MINER_PATH"])))
        case ["lotus", "fetch-params" | "wallet", *_] | ["docker", "compose", "version"]:
            pass
        case ["docker", "compose", "-f", file, "up", *_]:
            compose_up(Path(file))
        case ["docker", "compose", "-f", _, "down"]:
            pass
        case _:
            raise SystemExit(f"the stand-in for {NAME} knows no {WORDS}")


main()
