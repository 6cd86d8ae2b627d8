"""A real Prometheus scrapes what a run pushed to a real Pushgateway, and a gateway's troubles are no run's."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import subprocess
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from reconciler.metrics.leaving import NotLeftError, push
from tests.authority import Authority
from tests.e2e.test_metrics import Measured
from tests.e2e.world import World, event
from tests.monitoring import program, samples

WITHIN = 60.0  # seconds until a server answers, or has scraped; a busy machine takes a few
SCRAPE = """
global: {scrape_interval: 1s}
scrape_configs:
  - job_name: gateway
    honor_labels: true
    static_configs: [{targets: ["%s"]}]
"""


def free_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])


def got(url: str) -> str | None:
    """Return what is answered, None while nobody answers well."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 - our own, on loopback
            return str(answer.read().decode())
    except (OSError, urllib.error.HTTPError):
        return None


def until(answer: Callable[[], Any]) -> Any:
    """Return the first answer that is one, asked for again and again for a while."""
    end = time.monotonic() + WITHIN
    while time.monotonic() < end:
        if found := answer():
            return found
        time.sleep(0.1)
    raise AssertionError("nothing came of it in time")


@contextlib.contextmanager
def serving(command: Sequence[str], ready: str, log: Path) -> Iterator[None]:
    with log.open("wb") as said, subprocess.Popen(command, stdout=said, stderr=said, cwd=log.parent) as server:
        try:
            until(lambda: got(ready) is not None or server.poll() is not None)
            assert server.poll() is None, log.read_text()
            yield
        finally:
            server.kill()


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[str]:
    address = f"127.0.0.1:{free_port()}"
    command = [program("prometheus-pushgateway"), f"--web.listen-address={address}"]
    with serving(command, f"http://{address}/-/ready", tmp_path / "gateway.log"):
        yield address


@pytest.fixture
def prometheus(tmp_path: Path, gateway: str) -> Iterator[str]:
    address = f"127.0.0.1:{free_port()}"
    (tmp_path / "prometheus.yml").write_text(SCRAPE % gateway)
    command = [program("prometheus"), "--config.file=prometheus.yml", f"--web.listen-address={address}"]
    with serving([*command, "--storage.tsdb.path=tsdb"], f"http://{address}/-/ready", tmp_path / "prometheus.log"):
        yield address


def asked(prometheus: str, query: str) -> list[tuple[dict[str, str], float]]:
    address = f"http://{prometheus}/api/v1/query?{urllib.parse.urlencode({'query': query})}"
    found = json.loads(got(address) or '{"data": {"result": []}}')["data"]["result"]
    return [(one["metric"], float(one["value"][1])) for one in found]


def test_prometheus_scrapes_what_a_run_pushed_and_no_push_removes_another_jobs(
    tmp_path: Path, gateway: str, prometheus: str
) -> None:
    push(f"http://{gateway}", "other", b"# TYPE reconcile_other gauge\nreconcile_other 1\n")
    run = Measured(World(tmp_path), f'textfile = "out/acme.prom"\npushgateway = "http://{gateway}"')
    run.world.write(run.world.agents[0], event("uid-1"))
    assert run() == 0

    created = 'reconcile_deltas_total{job_name="acme",side="crm",action="create",outcome="done"}'
    [(labels, value)] = until(lambda: asked(prometheus, created))
    assert (labels["job"], value) == ("acme", 1)
    assert asked(prometheus, "reconcile_other{job='other'}") != []
    scraped = {
        (name["__name__"], frozenset((label, name[label]) for label in name if label not in {"__name__", "job"})): value
        for name, value in asked(prometheus, '{job="acme",__name__=~"reconcile_.+"}')
    }
    written = samples(run.file.read_text())
    assert len(scraped) == len(written)
    assert sorted(scraped.values()) == sorted(written.values())


# ---- a gateway that is none -----------------------------------------------------------------------------------------


def test_a_gateway_that_is_out_of_reach_changes_nothing_of_a_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Measured(World(tmp_path), f'pushgateway = "http://127.0.0.1:{free_port()}/secret-path"')
    assert run() == 0
    [line] = [line for line in capsys.readouterr().err.splitlines() if '"metrics"' in line]
    assert "[metrics] pushgateway: the gateway could not be reached" in line
    assert "secret-path" not in line


class Answers(BaseHTTPRequestHandler):
    """Note what is asked, and answer with a status; where that is nought, never come to an end."""

    def do_PUT(self) -> None:
        server = self.server
        assert isinstance(server, Gateway)
        server.heard.append((self.path, self.headers.get("authorization", "")))
        if not server.status:
            self.wfile.write(b"HTTP/1.1 200 OK\r\n")
            while not server.over.wait(0.05):  # each of them in time for whoever waits for the next byte alone
                self.wfile.write(b"X: y\r\n")
            return
        self.send_response(server.status)
        self.send_header("Location", "http://127.0.0.1:1/elsewhere")
        self.end_headers()

    def handle(self) -> None:
        with contextlib.suppress(OSError):  # whoever is not trusted hangs up, and so does who has waited enough
            super().handle()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Gateway(ThreadingHTTPServer):
    def __init__(self, status: int) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        self.daemon_threads = True
        self.status, self.heard, self.over = status, list[tuple[str, str]](), threading.Event()


@contextlib.contextmanager
def answering(status: int, tls: ssl.SSLContext | None = None) -> Iterator[tuple[Gateway, str]]:
    with Gateway(status) as server:
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        worker = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        worker.start()
        try:
            yield server, f"127.0.0.1:{server.server_port}"
        finally:
            server.over.set()
            server.shutdown()
            worker.join()


@pytest.mark.parametrize(("status", "why"), [(302, "answered 302"), (401, "answered 401"), (500, "answered 500")])
def test_no_redirect_is_followed_and_a_refusal_is_said(status: int, why: str) -> None:
    with answering(status) as (server, address), pytest.raises(NotLeftError, match=why):
        push(f"http://{address}/under/", "acme", b"x 1\n")
    assert [path for path, _ in server.heard] == ["/under/metrics/job/acme"]


def test_a_gateway_that_never_comes_to_an_end_is_left_alone_after_a_while() -> None:
    with answering(0) as (_, address):
        with pytest.raises(NotLeftError, match="did not answer in time"):
            push(f"http://{address}", "acme", b"x 1\n", seconds=0.2)
        left = [one for one in threading.enumerate() if "(attempt)" in one.name]
        assert {one.daemon for one in left} == {True}, "it keeps no process from ending"


def test_a_login_goes_into_a_header_and_not_into_the_path() -> None:
    with answering(202) as (server, address):
        push(f"http://ops:p%40ss@{address}", "acme", b"x 1\n")
    assert server.heard == [("/metrics/job/acme", "Basic b3BzOnBAc3M=")]


def test_a_gateway_whose_certificate_nobody_vouches_for_gets_nothing(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    with answering(202, authority.serving("127.0.0.1")) as (server, address):
        with pytest.raises(NotLeftError, match="certificate"):
            push(f"https://{address}", "acme", b"x 1\n")
        assert server.heard == []
        push(f"https://{address}", "acme", b"x 1\n", tls=authority.trusted())
    assert len(server.heard) == 1
