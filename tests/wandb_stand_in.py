"""A stand-in of the W&B service, on loopback: enough of its endpoints for the real client, and a grid sweep controller.

It keeps what clients send as the service does: history by line number, the last summary line, the config as a whole.
The controller hands out a cell until it finds that cell in the config of one of the sweep's runs, as W&B's own does; a
client that writes over a sweep's parameters is therefore handed the same cell for ever (here: `MOST_REPEATS` times).
"""

import gzip
import itertools
import json
import os
import re
import signal
import sys
import threading
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml

ENTITY = "team"
API_KEY = "topsecret0" * 4
MOST_REPEATS = 2
MOST_IN_A_PAGE = 3


@dataclass
class Run:
    """One run as the service has it."""

    project: str
    name: str
    config: dict[str, Any] = field(default_factory=dict)
    display_name: str | None = None
    group: str | None = None
    job_type: str | None = None
    sweep: str | None = None
    tags: list[str] = field(default_factory=list)
    lines: dict[int, dict[str, Any]] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    state: str = "pending"
    rows_when_opened: list[int] = field(default_factory=list)
    rows_sent: int = 0

    @property
    def started(self) -> bool:
        """Whether a client has opened it; a sweep's runs are made ahead of time."""
        return "_wandb" in self.config

    @property
    def history(self) -> list[tuple[int, dict[str, float]]]:
        """Step and values of each row, in the order in which they stand."""
        rows = [self.lines[number] for number in sorted(self.lines)]
        return [(row["_step"], {key: row[key] for key in row if not key.startswith("_")}) for row in rows]

    def setting(self, key: str) -> Any:
        """A top-level entry of the config."""
        return self.config[key]["value"]

    def node(self) -> dict[str, Any]:
        """What queries give."""
        tail = [self.lines[max(self.lines)]] if self.lines else []
        return {
            "id": f"id:{self.project}/{self.name}",
            "projectId": "1",
            "name": self.name,
            "displayName": self.display_name,
            "description": None,
            "notes": None,
            "tags": self.tags,
            "group": self.group,
            "jobType": self.job_type,
            "sweepName": self.sweep,
            "state": self.state,
            "commit": None,
            "readOnly": False,
            "createdAt": "2026-01-01T00:00:00",
            "heartbeatAt": "2026-01-01T00:00:00",
            "user": {"name": "user", "username": "user"},
            "config": json.dumps(self.config),
            "wandbConfig": json.dumps({"t": self.config["_wandb"]["value"]["t"]} if self.started else {}),
            "summaryMetrics": json.dumps(self.summary),
            "systemMetrics": "{}",
            "historyKeys": None,
            "historyLineCount": len(self.lines),
            "eventsLineCount": 0,
            "logLineCount": 0,
            "historyTail": json.dumps([json.dumps(row) for row in tail]),
            "eventsTail": "[]",
            "project": project_node(self.project),
        }


@dataclass
class Sweep:
    """A grid sweep."""

    project: str
    config: str
    handed_out: list[tuple[Any, ...]] = field(default_factory=list)

    def cells(self) -> list[dict[str, Any]]:
        """All combinations, values by parameter."""
        parameters = yaml.safe_load(self.config)["parameters"]
        values = [parameters[name].get("values") or [parameters[name]["value"]] for name in sorted(parameters)]
        return [dict(zip(sorted(parameters), cell, strict=True)) for cell in itertools.product(*values)]


def project_node(name: str) -> dict[str, Any]:
    """A project as queries give it."""
    return {"id": name, "internalId": "1", "name": name, "entity": {"id": "1", "name": ENTITY}, "readOnly": False}


class StandIn:
    """The service.

    Attributes:
        runs: by (project, id).
        sweeps: by id.
        silent: projects to which nothing can be streamed, as clients are left without an answer.
        asked: how often each operation was asked for.
    """

    def __init__(self) -> None:
        self.runs: dict[tuple[str, str], Run] = {}
        self.sweeps: dict[str, Sweep] = {}
        self.silent: set[str] = set()
        self.asked: Counter[str] = Counter()
        self.closing = threading.Event()
        self.lock = threading.Lock()
        self.server = _Server(("127.0.0.1", 0), _handler(self))

    @property
    def url(self) -> str:
        """For `WANDB_BASE_URL`."""
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def run(self, name: str, project: str = "lra-bench") -> Run:
        """A run that is there."""
        return self.runs[project, name]

    def answer(self, operation: str, given: dict[str, Any]) -> Any:
        """The data of a GraphQL answer."""
        self.asked[operation] += 1
        method = getattr(self, "on_" + re.sub(r"(?<!^)(?=[A-Z])", "_", operation).lower(), None)
        return method(given) if method else {}

    def on_viewer(self, given: dict[str, Any]) -> Any:
        user = {"id": "1", "entity": ENTITY, "username": "user", "name": "user", "email": "", "flags": "{}"}
        return {"viewer": {**user, "admin": False, "teams": {"edges": []}, "apiKeys": {"edges": []}}}

    on_get_viewer = on_get_default_entity = on_viewer

    def on_server_features_query(self, given: dict[str, Any]) -> Any:
        return {"serverInfo": {"features": []}}

    def on_upsert_bucket(self, given: dict[str, Any]) -> Any:
        if (given.get("id") or "").startswith("id:"):
            key = tuple(given["id"].removeprefix("id:").split("/"))
        else:
            key = (given["project"], given["name"])
        inserted = key not in self.runs
        run = self.runs.setdefault(key, Run(*key))
        if given.get("config"):
            run.config = json.loads(given["config"])
        run.display_name = given.get("displayName") or run.display_name
        run.group = given.get("groupName") or run.group
        run.job_type = given.get("jobType") or run.job_type
        run.sweep = given.get("sweep") or run.sweep
        run.tags = given.get("tags") or run.tags
        run.state = "running"
        return {"upsertBucket": {"bucket": run.node(), "inserted": inserted}}

    def on_run_resume_status(self, given: dict[str, Any]) -> Any:
        run = self.runs.get((given["project"], given["name"]))
        if run:
            run.rows_when_opened.append(len(run.lines))
        return {"model": {**project_node(given["project"]), "bucket": run and run.node()}}

    def on_run_stopped_status(self, given: dict[str, Any]) -> Any:
        return {"project": {"run": {"stopped": False}}}

    def on_runs(self, given: dict[str, Any]) -> Any:
        there = [run for (project, _), run in self.runs.items() if project == given["project"]]
        if not there:
            return {"project": None}
        wanted = json.loads(given["filters"]).get("name", {}).get("$in", [run.name for run in there])
        found = [run for run in there if run.name in wanted]
        start = int(given.get("cursor") or 0)
        shown = found[start : start + min(given.get("perPage", 50), MOST_IN_A_PAGE)]
        edges = [{"node": run.node(), "cursor": str(place)} for place, run in enumerate(shown, start + 1)]
        more = start + len(shown) < len(found)
        page = {"edges": edges, "pageInfo": {"endCursor": str(start + len(shown)), "hasNextPage": more}}
        return {"project": {**project_node(given["project"]), "runCount": len(found), "runs": page}}

    def on_run_full_history(self, given: dict[str, Any]) -> Any:
        lines = self.runs[given["project"], given["name"]].lines
        rows = [json.dumps(lines[number]) for number in sorted(lines)]
        return {"project": {"run": {"history": rows[: given["samples"]]}}}

    def on_create_run_files(self, given: dict[str, Any]) -> Any:
        places = [f"{self.url}/storage/{given['project']}/{given['run']}/{name}" for name in given["files"]]
        files = [{"name": name, "uploadUrl": url} for name, url in zip(given["files"], places, strict=True)]
        return {"createRunFiles": {"runID": "1", "uploadHeaders": [], "files": files}}

    def on_artifact_type(self, given: dict[str, Any]) -> Any:
        return {"project": None}

    def on_create_artifact(self, given: dict[str, Any]) -> Any:
        """A table comes twice, as a file of the run and as an artifact; as if this one were stored already."""
        artifact = {"id": "1", "state": "COMMITTED", "artifactSequence": {"latestArtifact": {"id": "1"}}}
        return {"createArtifact": {"artifact": artifact}}

    def on_upsert_sweep(self, given: dict[str, Any]) -> Any:
        name = f"sweep{len(self.sweeps)}"
        self.sweeps[name] = Sweep(given["projectName"], given["config"])
        sweep = {"name": name, "project": project_node(given["projectName"])}
        return {"upsertSweep": {"sweep": sweep, "configValidationWarnings": []}}

    def on_sweep(self, given: dict[str, Any]) -> Any:
        name = given.get("sweep") or given["name"]
        sweep = self.sweeps[name]
        node = {"id": name, "name": name, "method": "grid", "state": "RUNNING", "description": None, "bestLoss": None}
        more = {"config": sweep.config, "createdAt": "2026-01-01T00:00:00", "heartbeatAt": None, "updatedAt": None}
        more |= {"earlyStopJobRunning": False, "controller": None, "scheduler": None, "runs": {"edges": []}}
        return {"project": {**project_node(sweep.project), "sweep": {**node, **more}}}

    on_sweep_with_runs = on_get_sweep = on_get_sweep_legacy = on_sweep

    def on_create_agent(self, given: dict[str, Any]) -> Any:
        return {"createAgent": {"agent": {"id": given["sweep"]}}}

    def on_heartbeat(self, given: dict[str, Any]) -> Any:
        commands = [] if any(json.loads(given["runState"]).values()) else [self._next(given["id"])]
        return {"agentHeartbeat": {"agent": {"id": given["id"]}, "commands": json.dumps(commands)}}

    def _next(self, name: str) -> dict[str, Any]:
        """The first cell that no run of the sweep has in its config, or the end."""
        sweep = self.sweeps[name]
        configs = [run.config for run in self.runs.values() if run.sweep == name]
        for cell in sweep.cells():
            done = any(all(c.get(k, {}).get("value") == v for k, v in cell.items()) for c in configs)
            if not done and sweep.handed_out.count(tuple(cell.values())) < MOST_REPEATS:
                break
        else:
            return {"type": "exit"}
        sweep.handed_out.append(tuple(cell.values()))
        args = {key: {"value": value} for key, value in cell.items()}
        run = Run(sweep.project, f"{name}run{len(sweep.handed_out)}", config=dict(args), sweep=name)
        self.runs[run.project, run.name] = run
        return {"type": "run", "run_id": run.name, "program": None, "args": args}

    def stream(self, project: str, name: str, sent: dict[str, Any]) -> None:
        """Take a message of a run's file stream."""
        run = self.runs[project, name]
        for file, chunk in sent.get("files", {}).items():
            if file == "wandb-history.jsonl":
                run.rows_sent += len(chunk["content"])
                run.lines.update(enumerate(map(json.loads, chunk["content"]), chunk["offset"]))
            elif file == "wandb-summary.json":
                run.summary = json.loads(chunk["content"][-1])
        if sent.get("complete"):
            run.state = "failed" if sent["exitcode"] else "finished"


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: Any) -> None:
        """Clients go away when they are killed; that is what they are here for."""


def _handler(service: StandIn) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            pass

        def do_GET(self) -> None:
            self._reply({}, 404)

        def do_PUT(self) -> None:
            body = self._body()
            _, _, project, run, name = self.path.split("/", 4)
            with service.lock:
                service.runs[project, run].files[name] = body
            self._reply({})

        def do_POST(self) -> None:
            body = self._body()
            if self.path != "/graphql" and not self.path.endswith("/file_stream"):
                self._reply({})  # the client's own telemetry
                return
            sent = json.loads(gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body)
            if self.path == "/graphql":
                operation = re.search(r"(?:query|mutation)\s+(\w+)", sent["query"])
                assert operation is not None
                with service.lock:
                    answer = {"data": service.answer(operation[1], sent.get("variables") or {})}
            else:
                _, _, _, project, run, _ = self.path.split("/")
                if project in service.silent:
                    service.closing.wait()
                with service.lock:
                    service.stream(project, run, sent)
                answer = {}
            self._reply(answer)

        def _body(self) -> bytes:
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))

        def _reply(self, answer: Any, code: int = 200) -> None:
            data = json.dumps(answer).encode()
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    return Handler


@contextmanager
def stand_in():
    """The service, as long as the block runs; clients that are left over at its end are killed."""
    service = StandIn()
    thread = threading.Thread(target=service.server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield service
    finally:
        for process in left_over(service.url):
            os.kill(process, signal.SIGKILL)
        service.closing.set()
        service.server.shutdown()
        service.server.server_close()
        thread.join()


def left_over(url: str) -> list[int]:
    """Processes that were told to use the service at `url` and still run, but this one."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            environment = (folder / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if f"WANDB_BASE_URL={url}".encode() in environment and int(folder.name) != os.getpid():
            found.append(int(folder.name))
    return found


def client_environment(url: str, home: Path, **more: str) -> dict[str, str]:
    """A clean environment for a client: the service at `url`, a made-up key, and nothing of this machine's user."""
    return {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(home),
        "WANDB_BASE_URL": url,
        "WANDB_API_KEY": API_KEY,
        "WANDB_X_FILE_STREAM_TRANSMIT_INTERVAL": "1",
        "LRA_BENCH_CACHE_DIR": os.environ["LRA_BENCH_CACHE_DIR"],
        "LRA_BENCH_DATA_DIR": os.environ["LRA_BENCH_DATA_DIR"],
        **more,
    }
