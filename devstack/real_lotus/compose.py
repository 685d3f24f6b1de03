"""The compose file and the two scripts that make the same devnet in containers. Pure.

The image has all of Lotus' programs and no entry point that makes a devnet, so the scripts do; they may be cut off and
started again, as finished steps leave a mark in `genesis/done`.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from devstack.real_lotus.plan import Layout, Plan, miner_environment, node_environment

__all__ = ["Containers", "compose_text", "image_name", "miner_script", "node_script"]

_IMAGE: Final = "filecoin/lotus-all-in-one"
_INSIDE: Final = "/devnet"  # where the data directory lies in the containers
_SCRIPTS: Final = "docker"
_API_PORT: Final = 1234
_MINER_PORT: Final = 2345

# What every script begins with. `step NAME COMMAND…` runs a command once over all starts.
_HEAD: Final = """\
#!/bin/sh
set -eu
umask 077
mkdir -p genesis/done logs
step() {
  name=$1; shift
  [ -e "genesis/done/$name" ] && return 0
  echo "devstack: $name"
  "$@"
  touch "genesis/done/$name"
}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Containers:
    """What the compose file is made for. `user` is `uid:gid` of who owns the data directory."""

    tag: str
    data_dir: str
    api_port: int
    miner_port: int
    user: str
    nv29_epoch: int | None = None


def image_name(tag: str) -> str:
    """The image's 2k build of a release or channel: `v1.36.2` gives `filecoin/lotus-all-in-one:v1.36.2-2k`."""
    return f"{_IMAGE}:{tag.removesuffix('-2k')}-2k"


def compose_text(containers: Containers) -> str:
    """The compose file: a node, and a miner that begins when the node answers. Ports are open on 127.0.0.1 only."""
    layout = Layout(Path(_INSIDE))
    node = node_environment(layout, _API_PORT, containers.nv29_epoch, host="0.0.0.0")  # noqa: S104
    miner = miner_environment(layout, _MINER_PORT, containers.nv29_epoch, host="0.0.0.0")  # noqa: S104
    services = {
        "node": {
            **_service(containers, "node.sh", node, (containers.api_port, _API_PORT)),
            "healthcheck": {
                "test": ["CMD", "lotus", "wait-api", "--timeout=5s"],
                "interval": "5s",
                "timeout": "10s",
                "start_period": "30m",  # proof parameters come first, the first time
                "retries": 12,
            },
        },
        "miner": {
            **_service(containers, "miner.sh", miner, (containers.miner_port, _MINER_PORT)),
            "depends_on": {"node": {"condition": "service_healthy"}},
        },
    }
    return yaml.safe_dump({"services": services}, sort_keys=False)


def _service(
    containers: Containers, script: str, environment: Mapping[str, str], ports: tuple[int, int]
) -> dict[str, Any]:
    outside, inside = ports
    return {
        "image": image_name(containers.tag),
        "user": containers.user,
        "working_dir": _INSIDE,
        "entrypoint": ["/bin/sh", f"{_INSIDE}/{_SCRIPTS}/{script}"],
        "environment": {**environment, "HOME": _INSIDE},
        "volumes": [{"type": "bind", "source": containers.data_dir, "target": _INSIDE}],
        "ports": [f"127.0.0.1:{outside}:{inside}"],
        "stop_grace_period": "30s",
    }


def node_script(network_name: str) -> str:
    """What the node's container runs: the set-up, then the daemon."""
    layout = Layout(Path(_INSIDE))
    plan = Plan(layout)
    keys = "\n".join(
        f"  {_words(plan.root_key(index))} > genesis/root-{index}.address"
        for index, _ in enumerate(layout.root_keys())
    )
    signers = ("$(cat genesis/root-0.address)", "$(cat genesis/root-1.address)")
    new, set_signers, add_miner = plan.template(signers, network_name)
    return f"""{_HEAD}
root_keys() {{
{keys}
}}
pre_seal() {{
  rm -rf {layout.sectors}
  mkdir -p {layout.sectors}
  {_words(plan.pre_seal())}
}}
template() {{
  {_words(new)}
  {_words_expanding(set_signers)}
  {_words(add_miner)}
}}
step fetch-params {_words(plan.fetch_params())}
step root-keys root_keys
step pre-seal pre_seal
step template template
if [ -e genesis/done/genesis ]; then
  exec {_words(plan.daemon())}
fi
rm -rf {layout.lotus} {layout.genesis}
exec {_words(plan.first_daemon())}
"""


def miner_script() -> str:
    """What the miner's container runs once the node answers: keys and repo, then the daemon."""
    layout = Layout(Path(_INSIDE))
    plan = Plan(layout)
    imports = "\n".join(f"  {_words(command)}" for command in plan.import_keys())
    return f"""{_HEAD}
touch genesis/done/genesis
FULLNODE_API_INFO="$(cat {layout.lotus}/token):/dns/node/tcp/{_API_PORT}/http"
export FULLNODE_API_INFO
import_keys() {{
{imports}
}}
init_miner() {{
  rm -rf {layout.miner}
  {_words(plan.init_miner())}
}}
step import-keys import_keys
step init-miner init_miner
exec {_words(plan.miner())}
"""


def _words(command: Sequence[str]) -> str:
    return shlex.join(command)


def _words_expanding(command: Sequence[str]) -> str:
    """The same for words in which the shell shall put in what a command prints; they hold nothing else special."""
    return " ".join(f'"{word}"' for word in command)
