"""Every key of the configuration: its type, default, unit and one line of why. `config.example.yaml` is made from this."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from fil_plus.terms import Basis
from lotus_client.types import AttoFil
from sp_plugin.config.fields import (
    ActorIdField,
    AddressField,
    Amount,
    Bps,
    CidField,
    Count,
    Flag,
    PathField,
    PositiveCount,
    SecretField,
    SecretFileField,
    Section,
    Text,
)
from sp_plugin.config.miner import MinerConfig, UnsealConfig, why_not_source

__all__ = [
    "ApprovalsConfig",
    "ApproverConfig",
    "Config",
    "DatasetConfig",
    "DatasetSelector",
    "DockerLimits",
    "EarningsConfig",
    "EndpointConfig",
    "FollowConfig",
    "HttpConfig",
    "JobsConfig",
    "LogConfig",
    "NodeConfig",
    "PayoutsConfig",
    "PieceSourceConfig",
    "PolicyConfig",
    "ProviderConfig",
    "Scope",
    "ShareTerms",
    "SignerConfig",
    "WasmLimits",
]

_MIB = 1 << 20
_GIB = 1 << 30


class Scope(StrEnum):
    """What a bearer token may do; the scopes do not include each other."""

    READ = "read"
    SUBMIT = "submit"
    APPROVE = "approve"
    OPERATE = "operate"


def _wrong(key: str, message: str) -> PydanticCustomError:
    """A problem of one key that only the whole section can see."""
    return PydanticCustomError("section", "{message}", {"key": key, "message": message})


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
            raise _wrong("", "say where the node is: api_info_file, or endpoint and token_file")
        if len(given) > 1:
            raise _wrong(given[1], f"the node is already named by {given[0]}; keep one of them")
        if self.token_file is not None and self.endpoint is None:
            raise _wrong("token_file", f"goes with endpoint; {given[0]} has its own token")
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
            raise _wrong("options", why)
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
            raise _wrong(
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


class ShareTerms(Section):
    """What jobs over a dataset may earn, at most; the approved bundle holds the terms that count."""

    output_bps: Bps | None = Field(
        default=None, description="basis points; null as in earnings.output_bps"
    )
    input_bps: Bps | None = Field(
        default=None, description="basis points; null as in earnings.input_bps"
    )


class DatasetSelector(Section):
    """Which held pieces belong to a dataset: any of the lists naming a piece is enough."""

    clients: tuple[ActorIdField, ...] = Field(
        default=(),
        description="ids (f0…) of clients whose claims and deals belong to it",
        examples=[["f01234"]],
    )
    claims: tuple[Count, ...] = Field(default=(), description="claim ids", examples=[[]])
    pieces: tuple[CidField, ...] = Field(
        default=(), description="piece CIDs (baga…)", examples=[[]]
    )
    roots: tuple[CidField, ...] = Field(
        default=(), description="CAR roots inside the pieces", examples=[[]]
    )

    @model_validator(mode="after")
    def _names_something(self) -> Self:
        if not (self.clients or self.claims or self.pieces or self.roots):
            raise _wrong("", "selects nothing: name clients, claims, pieces or roots")
        return self


class DatasetConfig(Section):
    """Data that jobs may compute over. A piece in no dataset cannot be computed over."""

    name: Text = Field(
        description="the name jobs use in Meta filecoin.dataset", examples=["quakes"]
    )
    licence: Text = Field(description="SPDX id or name of the data's licence", examples=["CC0-1.0"])
    steward: Text = Field(description="who answers for the data", examples=["Open Data Trust"])
    consent: Literal["public", "owner-signed", "none"] = Field(
        description="whether computing over it is agreed to: public; owner-signed and none both refuse "
        "(an owner's signature cannot be checked yet)",
        examples=["public"],
    )
    selector: DatasetSelector = Field(description="which held pieces")
    share_terms: ShareTerms = Field(
        default=ShareTerms(), description="upper bounds for this dataset"
    )


class ApproverConfig(Section):
    """A key whose signature counts."""

    name: Text = Field(
        description="for people", examples=["Ada, steward of quakes", "Ben, allocator"]
    )
    address: AddressField = Field(
        description="f1 or f3 key address (nobody holds the keys of these examples)",
        examples=[
            "f1n3ts562ht4xeeneo7lkmhaxbfqvqha4dh3i636q",
            "f1hs3253fbld2lnmyafyh7cpp6dspitteowo4zsyy",
        ],
    )
    roles: tuple[Text, ...] = Field(
        description="e.g. steward, allocator, operator", examples=[["steward"], ["allocator"]]
    )


class ApprovalsConfig(Section):
    """Who must sign a job before it runs."""

    k: PositiveCount = Field(default=2, description="distinct approvers needed for one bundle")
    valid_for_epochs: PositiveCount = Field(
        default=86_400, description="epochs from its submission in which a job may start: 30 days"
    )
    required_roles: tuple[Text, ...] = Field(
        default=(), description="roles of which at least one signature each is needed"
    )
    approvers: tuple[ApproverConfig, ...] = Field(default=(), description="the keys that count")

    @model_validator(mode="after")
    def _can_be_met(self) -> Self:
        addresses = [approver.address for approver in self.approvers]
        for position, address in enumerate(addresses):
            if address in addresses[:position]:
                raise _wrong(f"approvers.{position}.address", "stands twice among the approvers")
        if self.approvers and self.k > len(self.approvers):
            raise _wrong(
                "k", f"{self.k} approvals can never come from {len(self.approvers)} approvers"
            )
        held = {role for approver in self.approvers for role in approver.roles}
        if missing := [role for role in self.required_roles if role not in held]:
            raise _wrong("required_roles", f"no approver has the role {missing[0]!r}")
        return self


class PolicyConfig(Section):
    """The last word before a run: policy can refuse what approvers signed, never the reverse."""

    allowed_engines: tuple[Text, ...] = Field(
        default=("wasm", "docker"), description="engines that may run here"
    )
    allowed_sources: tuple[Text, ...] = Field(
        default=("filecoin", "ipfs", "inline", "localDirectory"),
        description="input sources that jobs may name; any but filecoin and ipfs bring bytes of no held piece",
    )
    max_inputs: PositiveCount = Field(default=64, description="input sources of one job")
    max_input_bytes: PositiveCount = Field(
        default=64 * _GIB, description="padded bytes of all pieces of one job"
    )
    deny_payees: tuple[AddressField, ...] = Field(
        default=(), description="addresses that get no jobs run"
    )
    deny_modules: tuple[Text, ...] = Field(
        default=(), description="sha256 of modules, or image digests, that never run"
    )
    denylists: tuple[PathField, ...] = Field(
        default=(),
        description="files in the compact .deny format (badbits); what is on them is neither mounted nor published",
    )


class WasmLimits(Section):
    """Upper bounds of one WASM run; a job may ask for less."""

    memory_bytes: PositiveCount = Field(default=512 * _MIB, description="linear memory")
    wall_seconds: PositiveCount = Field(default=600, description="from start to kill")
    output_bytes: PositiveCount = Field(default=_GIB, description="all files it writes")
    log_bytes: PositiveCount = Field(default=_MIB, description="kept of stdout and of stderr, each")


class DockerLimits(Section):
    """Upper bounds of one container; a job may ask for less."""

    enabled: Flag = Field(
        default=False, description="containers share the host's kernel: switch on by choice"
    )
    memory_bytes: PositiveCount = Field(default=_GIB, description="memory, swap included")
    cpus: PositiveCount = Field(default=1, description="whole CPUs")
    pids: PositiveCount = Field(default=128, description="processes and threads")
    wall_seconds: PositiveCount = Field(default=1800, description="from start to kill")
    output_bytes: PositiveCount = Field(default=_GIB, description="all files it writes")
    log_bytes: PositiveCount = Field(default=_MIB, description="kept of stdout and of stderr, each")


class QuotaConfig(Section):
    """What one submitter may have at a time and in a day; null is no limit."""

    max_queued: PositiveCount | None = Field(
        default=None, description="jobs waiting to run, approved or not; more are refused"
    )
    max_running: PositiveCount | None = Field(
        default=None, description="jobs running at the same time; further ones wait in the queue"
    )
    compute_seconds_per_day: PositiveCount | None = Field(
        default=None, description="CPU seconds used in the last 24 hours after which jobs wait"
    )
    output_bytes_per_day: PositiveCount | None = Field(
        default=None, description="bytes written in the last 24 hours after which jobs wait"
    )
    weight: Annotated[int, Field(strict=True, ge=1, le=1000)] = Field(
        default=1, description="size of its share beside other submitters"
    )


class _Submitter(Section):
    name: Text = Field(
        description="the name of its token; anonymous is whoever needs none", examples=["institute"]
    )


class SubmitterQuotaConfig(QuotaConfig, _Submitter):
    """The quota of one submitter, in place of the default one."""


class QuotasConfig(Section):
    """Shares of the machine: submitters take turns by what they used in the last day."""

    default: QuotaConfig = Field(default=QuotaConfig(), description="each submitter not named")
    submitters: tuple[SubmitterQuotaConfig, ...] = Field(
        default=(), description="submitters with quotas of their own"
    )

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        names = [submitter.name for submitter in self.submitters]
        for position, name in enumerate(names):
            if name in names[:position]:
                raise _wrong(f"submitters.{position}.name", "stands twice among the submitters")
        return self


class JobsConfig(Section):
    """How jobs run."""

    enabled: Flag = Field(default=True, description="take approved jobs from the queue")
    workers: PositiveCount = Field(default=1, description="jobs running at the same time")
    lease_seconds: PositiveCount = Field(
        default=60, description="a worker silent this long has lost its job"
    )
    max_queued: PositiveCount = Field(default=1000, description="jobs waiting; more are refused")
    quotas: QuotasConfig = Field(
        default=QuotasConfig(), description="shares and limits of submitters"
    )
    wasm: WasmLimits = Field(default=WasmLimits(), description="WASM limits")
    docker: DockerLimits = Field(default=DockerLimits(), description="Docker limits")
    allowed_publishers: tuple[Literal["local", "ipfs", "filecoin"], ...] = Field(
        default=("local", "filecoin"), description="where results may go"
    )
    allowed_local_directories: tuple[PathField, ...] = Field(
        default=(), description="host directories a localDirectory input may lie in"
    )
    minimum_piece_bytes: Literal[256, 1048576] = Field(
        default=1048576,
        description="least padded size of a staged result: 1 MiB on mainnet and calibration, 256 on a 2k network",
    )
    cache_bytes: PositiveCount = Field(
        default=100 * _GIB,
        description="files written out from pieces for jobs; those unused for longest go first",
    )
    keep_free_bytes: PositiveCount = Field(
        default=5 * _GIB,
        description="what the disk of data_dir keeps free: nothing more is written out from pieces below it",
    )
    keep_results_days: PositiveCount = Field(
        default=90,
        description="files of a run are kept this long after it ended; pieces staged for deals are never removed",
    )


class EarningsConfig(Section):
    """How rewards become shares: the terms offered to new bundles."""

    basis: Basis = Field(
        default=Basis.VERIFIED_EXTRA, description="verified_extra, qap_share or fixed_budget"
    )
    fixed_budget_fil: Amount = Field(
        default=AttoFil(0), description="FIL for each job under fixed_budget, and only there"
    )
    fixed_budget_epochs: Count = Field(
        default=0, description="epochs over which the budget comes due; 0 is at the first win"
    )
    output_bps: Bps = Field(
        default=1000, description="basis points for the author of the job whose output the piece is"
    )
    input_bps: Bps = Field(
        default=0, description="basis points for jobs that used the piece: a voluntary bonus"
    )
    max_share_bps: Bps = Field(default=2000, description="basis points, output and input together")
    include_tips: Flag = Field(default=False, description="share gas tips as well")
    capital_cost_apr_bps: Count | None = Field(
        default=None,
        description="yearly cost of pledge in basis points; verified_extra needs it, 0 is allowed and shown",
        examples=[800],
    )
    input_window_epochs: PositiveCount = Field(
        default=86_400, description="how long a use of a piece counts for input_bps"
    )

    @model_validator(mode="after")
    def _terms_add_up(self) -> Self:
        if self.output_bps + self.input_bps > self.max_share_bps:
            raise _wrong("output_bps", "output_bps + input_bps must not exceed max_share_bps")
        if self.basis is not Basis.FIXED_BUDGET and self.fixed_budget_fil:
            raise _wrong("fixed_budget_fil", f"belongs to basis fixed_budget, not to {self.basis}")
        if self.basis is Basis.VERIFIED_EXTRA and self.capital_cost_apr_bps is None:
            raise _wrong(
                "capital_cost_apr_bps",
                "is required for basis verified_extra: the yearly cost of pledge in basis points "
                "(0 is allowed and printed on every statement)",
            )
        return self


class SignerConfig(Section):
    """What holds the payout key."""

    api_info_file: SecretFileField | None = Field(
        default=None,
        description="API info of a lotus-wallet that holds only the payout key (recommended)",
    )
    key_file: SecretFileField | None = Field(
        default=None,
        description="file with a secp256k1 key as 64 hex digits: for tests and local networks",
    )

    @model_validator(mode="after")
    def _at_most_one(self) -> Self:
        if self.api_info_file is not None and self.key_file is not None:
            raise _wrong(
                "key_file", "the signer is already named by api_info_file; keep one of them"
            )
        return self


class PayoutsConfig(Section):
    """Sending money. Off until switched on, and a dry run until that is switched off too."""

    enabled: Flag = Field(default=False, description="plan and send payouts")
    dry_run: Flag = Field(default=True, description="show what would be sent, sign nothing")
    wallet: AddressField | None = Field(
        default=None, description="f1 or f3 address that pays", examples=[None]
    )
    signer: SignerConfig = Field(default=SignerConfig(), description="what signs for the wallet")
    require_approval: Flag = Field(
        default=True, description="a person runs `payouts approve` before any signing"
    )
    minimum_payout_fil: Amount = Field(
        default=AttoFil(10**17), description="FIL; smaller balances wait, they are never forfeited"
    )
    max_fee_fil: Amount = Field(
        default=AttoFil(5 * 10**16), description="FIL of gas one message may cost"
    )
    max_per_payout_fil: Amount = Field(
        default=AttoFil(100 * 10**18), description="FIL in one message"
    )
    max_per_day_fil: Amount = Field(
        default=AttoFil(500 * 10**18), description="FIL sent in one day"
    )
    max_per_payee_per_day_fil: Amount = Field(
        default=AttoFil(100 * 10**18), description="FIL sent to one payee in one day"
    )
    max_float_fil: Amount = Field(
        default=AttoFil(1000 * 10**18),
        description="FIL the wallet should hold at most; more is warned of in the log and in readyz",
    )
    allow_shared_wallet: Flag = Field(
        default=False,
        description="pay although the signer also holds owner, worker or control keys",
    )

    @model_validator(mode="after")
    def _can_send(self) -> Self:
        if self.enabled and self.wallet is None:
            raise _wrong("wallet", "is required when payouts are enabled: the address that pays")
        signer = self.signer
        if self.enabled and not self.dry_run and signer.api_info_file is signer.key_file is None:
            raise _wrong(
                "signer", "name api_info_file (recommended) or key_file, or keep dry_run: true"
            )
        return self


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
    earnings: EarningsConfig = Field(description="how rewards become shares")
    payouts: PayoutsConfig = Field(default=PayoutsConfig(), description="sending money")

    @model_validator(mode="after")
    def _datasets_have_names_of_their_own(self) -> Self:
        names = [dataset.name for dataset in self.datasets]
        for position, name in enumerate(names):
            if name in names[:position]:
                raise _wrong(
                    f"datasets.{position}.name", f"{name!r} is the name of another dataset"
                )
        return self

    @property
    def database_url(self) -> str:
        """The store's URL, with the default filled in."""
        return self.database.url or f"sqlite+aiosqlite:///{self.data_dir / 'sp-plugin.db'}"
