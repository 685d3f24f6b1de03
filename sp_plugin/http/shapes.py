"""The JSON shapes of Bacalhau's API v1 as models, with the names of the wire. Source: bacalhau v1.4–v1.9 `pkg/models`,
`pkg/publicapi/apimodels`.

Answers are built as plain values, for speed; the OpenAPI document is made of these models, and the tests hold real
answers against it.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = [
    "Alive",
    "AuthConfig",
    "AuthMethods",
    "Authenticated",
    "Diff",
    "Execution",
    "ExecutionList",
    "HistoryItem",
    "HistoryList",
    "Job",
    "JobAnswer",
    "JobList",
    "NodeAnswer",
    "NodeList",
    "PutJob",
    "PutJobAnswer",
    "ResultList",
    "StopAnswer",
    "StopJob",
    "VersionAnswer",
    "VersionInfo",
]


class _Shape(BaseModel):
    model_config = ConfigDict(extra="allow")


class SpecConfig(_Shape):
    """An engine, source, publisher or result."""

    Type: str
    Params: dict[str, Any] = {}


class State(_Shape):
    """A job's state."""

    StateType: Literal["Pending", "Queued", "Running", "Completed", "Failed", "Stopped"]
    Message: str
    Details: dict[str, str]


class Job(_Shape):
    """A job with what the server adds."""

    ID: str
    Name: str
    Namespace: str
    Type: Literal["batch", "ops"]
    Priority: int
    Count: int
    Constraints: list[Any]
    Meta: dict[str, str]
    Labels: dict[str, str]
    Tasks: list[dict[str, Any]] = Field(min_length=1)
    State: State
    Version: int
    Revision: int
    CreateTime: int = Field(description="Unix nanoseconds")
    ModifyTime: int = Field(description="Unix nanoseconds")
    Signer: str = Field(description="whose Filecoin signature over the job was verified; or empty")


class StateNumber(_Shape):
    """A state by its number."""

    StateType: int
    Message: str


class RunOutput(_Shape):
    """The first 2,048 bytes of each stream, and how the program ended."""

    Stdout: str
    StdoutTruncated: bool
    stderr: str
    StderrTruncated: bool
    ExitCode: int
    ErrorMsg: str


class Execution(_Shape):
    """One start of a job."""

    ID: str
    Namespace: str
    EvalID: str
    Name: str
    NodeID: str
    JobID: str
    JobVersion: int
    AllocatedResources: dict[str, Any]
    DesiredState: StateNumber
    ComputeState: StateNumber
    PublishedResult: SpecConfig
    RunOutput: RunOutput | None
    Revision: int
    CreateTime: int
    ModifyTime: int


class Event(_Shape):
    """What a history item tells."""

    Topic: str
    Message: str
    Timestamp: str = Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$")
    Details: dict[str, str]


class NamedStates(_Shape):
    """A job's states before and after."""

    Previous: str
    New: str


class NumberedStates(_Shape):
    """An execution's states before and after."""

    Previous: int
    New: int


class HistoryItem(_Shape):
    """One transition or event of a job or of one of its executions."""

    SeqNum: int
    Type: Literal["JobLevel", "ExecutionLevel"]
    JobID: str
    JobVersion: int
    ExecutionID: str
    NodeID: str
    Comment: str
    Time: str
    JobState: NamedStates | None = None
    ExecutionState: NumberedStates | None = None
    Event: Event


class _Page(_Shape):
    NextToken: str = Field(description="empty at the end; else the `next_token` of the next page")


class JobList(_Page):
    """A page of jobs."""

    Items: list[Job]


class ExecutionList(_Page):
    """Executions of a job."""

    Items: list[Execution]


class HistoryList(_Page):
    """What happened to a job, oldest first."""

    Items: list[HistoryItem]


class ResultList(_Page):
    """Where each completed execution's results can be downloaded."""

    Items: list[SpecConfig]


class JobAnswer(_Shape):
    """One job."""

    Job: Job
    Executions: ExecutionList | None = None
    History: HistoryList | None = None


class PutJob(_Shape):
    """A job handed in."""

    Job: dict[str, Any]


class PutJobAnswer(_Shape):
    """The new job's ID."""

    JobID: str
    EvaluationID: str
    Warnings: list[str]


class StopJob(_Shape):
    """Why a job is stopped."""

    reason: str = ""


class StopAnswer(_Shape):
    """An ID, empty where the job was stopped before."""

    EvaluationID: str


class Diff(_Shape):
    """How a job differs from the one of that name; empty is no difference."""

    Diff: str
    Warnings: list[str]


class Alive(_Shape):
    """That an API is here."""

    Status: Literal["OK"]


class VersionInfo(_Shape):
    """The API version spoken; GitCommit names this program."""

    Major: str
    Minor: str
    GitVersion: str = Field(pattern=r"^v\d+\.\d+\.\d+$")
    GitCommit: str
    BuildDate: str
    GOOS: str
    GOARCH: str


class VersionAnswer(_Shape):
    """The version, as clients before v1.5 ask for it."""

    build_version_info: VersionInfo


class NodeInfo(_Shape):
    """What a node is and can do."""

    NodeID: str
    NodeType: Literal["Compute", "Requester"]
    Labels: dict[str, str]
    SupportedProtocols: list[str]
    ComputeNodeInfo: dict[str, Any]
    BacalhauVersion: VersionInfo


class NodeState(_Shape):
    """A node and whether it is here."""

    Info: NodeInfo
    Membership: Literal["PENDING", "APPROVED", "REJECTED"]
    Connection: Literal["CONNECTED", "DISCONNECTED"]
    ConnectionState: dict[str, str]


class NodeList(_Page):
    """The nodes; the lower-case key is the one that the Python client reads."""

    Nodes: list[NodeState]
    nodes: list[NodeState]


class NodeAnswer(_Shape):
    """One node; the lower-case key is the one that the Python client reads."""

    Node: NodeState
    node: NodeState


class AuthMethods(_Page):
    """The ways to get a token."""

    Methods: dict[str, Any] = Field(min_length=1)


class Authentication(_Shape):
    """Whether it was granted."""

    success: bool
    token: str = ""
    reason: str = ""


class Authenticated(_Shape):
    """What came of it."""

    Authentication: Authentication


class AuthConfig(_Shape):
    """No OAuth is offered."""

    Version: str
    Config: dict[str, Any]
