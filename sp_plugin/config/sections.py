"""Every key of the configuration: its type, default, unit and one line of why. `config.example.yaml` is made from this."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from sp_plugin.config.fields import (
    ActorIdField,
    AddressField,
    CidField,
    Count,
    Flag,
    PathField,
    PositiveCount,
    SecretField,
    SecretFileField,
    Section,
    Text,
    wrong,
)
from sp_plugin.config.guard import GuardConfig
from sp_plugin.config.jobs import JobsConfig
from sp_plugin.config.miner import MinerConfig, UnsealConfig, why_not_source
from sp_plugin.config.money import EarningsConfig, PayoutsConfig
from sp_plugin.config.rules import ApprovalsConfig, DatasetConfig, PolicyConfig

__all__ = [
    "Config",
    "EndpointConfig",
    "FollowConfig",
    "HttpConfig",
    "LogConfig",
    "NodeConfig",
    "PieceSourceConfig",
    "ProviderConfig",
    "Scope",
]

_MIB = 1 << 20
_GIB = 1 << 30


class Scope(StrEnum):
    """What a bearer token may do; the scopes do not include each other."""

    READ = "read"
    SUBMIT = "submit"
    APPROVE = "approve"
    OPERATE = "operate"


class EndpointConfig(Section):
    """Another node of the same network, asked while the ones before it are away, and compared with before paying."""

    endpoint: Text = Field(description="multiaddr or URL", examples=["/ip4/10.0.0.2/tcp/1234/http"])
    token_file: SecretFileField | None = Field(
        default=None,
        description="file with that node's token; `read` is enough if it only helps out",
    )


class NodeConfig(Section):
    """The Lotus node the sidecar reads the chain from and pushes messages to."""

    api_info_file: SecretFileField | None = Field(
        default=None,
        description="file with a FULLNODE_API_INFO string, TOKEN:ADDRESS; several nodes are separated by commas",
    )
    api_info: SecretField | None = Field(
        default=None,
        description="the same, from the environment (SP_PLUGIN__NODE__API_INFO); a token does not belong in this file",
    )
    endpoint: Text | None = Field(
        default=None,
        description="multiaddr or URL, where no API info is given",
        examples=["/ip4/127.0.0.1/tcp/1234/http"],
    )
    token_file: SecretFileField | None = Field(
        default=None, description="file with the node's token; `read` to watch, `write` to pay"
    )
    endpoints: tuple[EndpointConfig, ...] = Field(
        default=(), description="further nodes, in the order of preference"
    )
    require_agreement: Flag = Field(
        default=True,
        description="with several nodes: two must agree on chain, nonce and balance before a payout is signed",
    )
    network: Text = Field(
        description="name the node must answer to StateNetworkName: money must not go to another network",
        examples=["mainnet"],
    )
    genesis: CidField | None = Field(
        default=None,
        description="CID of the genesis block, if the name is not enough (local networks)",
    )
    request_timeout_seconds: PositiveCount = Field(
        default=60,
        description="how long one request may take",
    )
    heavy_request_timeout_seconds: PositiveCount = Field(
        default=300,
        description="the same for long work: traces, long lists, message search; slow on a busy node",
    )
    allow_admin_token: Flag = Field(
        default=False,
        description="start with a token that could move all the node's keys: never needed",
    )

    @model_validator(mode="after")
    def _one_way_to_the_node(self) -> Self:
        given = [
            key
            for key in ("api_info_file", "api_info", "endpoint")
            if getattr(self, key) is not None
        ]
        if not given:
            raise wrong("", "say where the node is: api_info_file, or endpoint and token_file")
        if len(given) > 1:
            raise wrong(given[1], f"the node is already named by {given[0]}; keep one of them")
        if self.token_file is not None and self.endpoint is None:
            raise wrong("token_file", f"goes with endpoint; {given[0]} has its own token")
        return self


class PieceSourceConfig(Section):
    """Another place where the bytes of held pieces can be read, asked after `storage_paths`."""

    kind: Text = Field(
        description="http, storage_path, miner (needs the admin token), or the name of a source that was added",
        examples=["storage_path"],
    )
    options: dict[str, Any] = Field(
        description="what that kind takes",
        examples=[{"paths": ["/mnt/storage/two"], "sector_size": 34359738368}],
    )

    @model_validator(mode="after")
    def _may_be_used(self) -> Self:
        if why := why_not_source(self.kind, self.options):
            raise wrong("options", why)
        return self


class ProviderConfig(Section):
    """The storage provider this sidecar stands next to."""

    actor: ActorIdField = Field(description="the miner actor", examples=["f01000"])
    storage_paths: tuple[PathField, ...] = Field(
        default=(),
        description="storage directories with `unsealed/`, only read from",
        examples=[["/mnt/storage/one"]],
    )
    sources: tuple[PieceSourceConfig, ...] = Field(
        default=(), description="other places where pieces can be read"
    )
    miner: MinerConfig = Field(default=MinerConfig(), description="lotus-miner's own API")
    unseal: UnsealConfig = Field(default=UnsealConfig(), description="unsealing asked for")

    @model_validator(mode="after")
    def _unsealing_has_a_token(self) -> Self:
        if self.unseal.enabled and self.miner.api_info_file and not self.miner.allow_admin_token:
            raise wrong(
                "unseal.enabled",
                "unsealing by lotus-miner's API needs its admin token: say provider.miner.allow_admin_token: true too",
            )
        return self


class DatabaseConfig(Section):
    """Where the sidecar keeps what it knows."""

    url: Text | None = Field(
        default=None,
        description="SQLAlchemy URL; null is SQLite in data_dir. postgresql+asyncpg://… (password by SP_PLUGIN__DATABASE__URL)",
    )


class HttpConfig(Section):
    """The sidecar's own API: health, metrics, jobs, and what the CLI asks for."""

    host: Text = Field(
        default="127.0.0.1", description="address to listen on; put TLS in front before opening it"
    )
    port: Annotated[int, Field(strict=True, ge=0, le=65535)] = Field(
        default=8734, description="TCP port; 0 takes a free one"
    )
    public_url: Text | None = Field(
        default=None, description="base of result download links, if not as the client asked for it"
    )
    max_body_bytes: PositiveCount = Field(
        default=10 * _MIB, description="largest request body accepted"
    )
    anonymous_scopes: tuple[Scope, ...] = Field(
        default=(), description="scopes of requests without a token: read, submit, approve, operate"
    )
    signers: tuple[AddressField, ...] = Field(
        default=(),
        description="f1 and f3 addresses that may hand in jobs they signed, without a token",
        examples=[[]],
    )

    @model_validator(mode="after")
    def _signers_can_be_checked(self) -> Self:
        for position, address in enumerate(self.signers):
            if address.protocol not in (1, 3):
                raise wrong(
                    f"signers.{position}",
                    f"{address} carries no key of a Filecoin wallet; only f1 and f3 addresses do",
                )
        return self


class LogConfig(Section):
    """What is written to standard error."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="least level"
    )
    format: Literal["console", "json"] = Field(
        default="console", description="json for log collectors"
    )


class FollowConfig(Section):
    """How the chain is followed."""

    poll_interval_seconds: PositiveCount = Field(
        default=15, description="polling between notifications, half a mainnet epoch"
    )
    start_epoch: Count | None = Field(
        default=None, description="first epoch to follow; null is the head's when first started"
    )
    max_epochs_per_step: PositiveCount = Field(
        default=240,
        description="epochs taken in one step when catching up, so that other work gets its turn",
    )


class Config(Section):
    """The whole configuration. Parts are given the section they need, never the whole."""

    data_dir: PathField = Field(
        description="database, results, scratch space; one per sidecar",
        examples=["/var/lib/sp-plugin"],
    )
    node: NodeConfig = Field(description="the Lotus node")
    provider: ProviderConfig = Field(description="this storage provider")
    database: DatabaseConfig = Field(default=DatabaseConfig(), description="the store")
    http: HttpConfig = Field(default=HttpConfig(), description="the sidecar's API")
    log: LogConfig = Field(default=LogConfig(), description="logging")
    follow: FollowConfig = Field(default=FollowConfig(), description="following the chain")
    datasets: tuple[DatasetConfig, ...] = Field(default=(), description="what may be computed over")
    approvals: ApprovalsConfig = Field(default=ApprovalsConfig(), description="who must agree")
    policy: PolicyConfig = Field(default=PolicyConfig(), description="what never runs")
    jobs: JobsConfig = Field(default=JobsConfig(), description="how jobs run")
    guard: GuardConfig = Field(default=GuardConfig(), description="what goes before jobs")
    earnings: EarningsConfig = Field(description="how rewards become shares")
    payouts: PayoutsConfig = Field(default=PayoutsConfig(), description="sending money")

    @model_validator(mode="after")
    def _datasets_have_names_of_their_own(self) -> Self:
        names = [dataset.name for dataset in self.datasets]
        for position, name in enumerate(names):
            if name in names[:position]:
                raise wrong(f"datasets.{position}.name", f"{name!r} is the name of another dataset")
        return self

    @property
    def database_url(self) -> str:
        """The store's URL, with the default filled in."""
        return self.database.url or f"sqlite+aiosqlite:///{self.data_dir / 'sp-plugin.db'}"
