"""Drives a sidecar with `bacalhau-sdk` and `bacalhau-apiclient` as they are: one JSON command a line in, one answer out.

Runs in an environment of its own (requirements.lock); the server is named by BACALHAU_API_HOST and BACALHAU_API_PORT.
"""

# ruff: noqa: T201, PLW0108
import json
import sys

from bacalhau_apiclient.api import orchestrator_api
from bacalhau_apiclient.models.api_put_job_request import ApiPutJobRequest
from bacalhau_sdk.config import init_config
from bacalhau_sdk.jobs import Jobs

jobs = Jobs()
client = orchestrator_api.ApiClient(init_config())
api = orchestrator_api.OrchestratorApi(client)
COMMANDS = {
    "put": lambda job: jobs.put(ApiPutJobRequest(job=job)),
    "get": lambda job_id: jobs.get(job_id, include="executions"),
    "list": lambda: jobs.list(),
    "executions": lambda job_id: jobs.executions(job_id),
    "history": lambda job_id: jobs.history(job_id),
    "results": lambda job_id: jobs.results(job_id),
    "stop": lambda job_id: jobs.stop(job_id, reason="enough"),
    "api_put": lambda job: api.orchestratorput_job(ApiPutJobRequest(job=job)),
    "api_list": lambda: api.orchestratorlist_jobs(limit=3, order_by="created_at", reverse=True),
    "api_get": lambda job_id: api.orchestratorget_job(job_id),
    "api_stop": lambda job_id: api.orchestratorstop_job(job_id),
    "api_logs": lambda job_id: api.orchestratorlogs(job_id),
    "nodes": lambda: api.orchestratorlist_nodes(),
}
for line in sys.stdin:
    name, *arguments = json.loads(line)
    answer = COMMANDS[name](*arguments)
    print(json.dumps(client.sanitize_for_serialization(answer)), flush=True)
