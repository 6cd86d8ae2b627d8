"""What each kind of command needs of a cluster, by its job file: secrets to hold, and whom to talk to.

Derived from where the job file names them, so that none has a key that it never uses: a report has no provider's, and
what prunes the state has the state's alone.
"""

from __future__ import annotations

import posixpath
import re
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from reconciler.agents import directory
from reconciler.cli.premises import feeds
from reconciler.config import Google, Ics, Microsoft, SqlCrm
from reconciler.config.named import secrets
from reconciler.config.secret import dialect_of
from reconciler.errors import ConfigError, Problem
from reconciler.kubernetes.deployment import JOBS, Held, Reach, Whereto
from reconciler.kubernetes.names import key

if TYPE_CHECKING:
    from reconciler.config import Job, Secret
    from reconciler.config.secret import Reference
    from reconciler.model import Calendar

POSTGRESQL: Final = 5432
MYSQL: Final = 3306
HTTPS: Final = 443
HTTP: Final = 80
SMTP: Final = (465, 587)
PUSHGATEWAY: Final = 9091
_METADATA: Final = (HTTP, 988)  # Google's own, and the one of GKE (cloud.google.com, "Workload Identity Federation")
_PORTS: Final = {"postgresql": (POSTGRESQL,), "mysql": (MYSQL,), "mariadb": (MYSQL,), "sqlite": ()}

_STATE: Final = "state"
_MEASURED: Final = r"state|metrics\..*"
_QUERIED: Final = r"|crm\.url"
_ALL: Final = r"|crm\..*|source.*"
KINDS: Final = {
    "run": _MEASURED + _ALL,
    "pull": _MEASURED + r"|crm\.url|source(?!.*auth_write).*",
    "report": _MEASURED + r"|report\..*",
    "prune": _MEASURED,
    "check": _STATE + _ALL + r"|report\..*",
    "status": _STATE,
}
"""Which keys of a job file a kind of command reads secrets from."""
SENDING: Final = frozenset({"report", "check"})
MEASURED: Final = frozenset({"run", "pull", "report", "prune"})
READING: Final = frozenset({"run", "pull", "check"})


def held(job: Job, kind: str) -> tuple[Held, ...]:
    """Return what the Secret of this kind of command holds. Raises ConfigError for a file that can't be mounted."""
    pattern = re.compile(KINDS[kind] + (_QUERIED if _asks_crm(job) else ""))
    references = [one for one in _references(job) if pattern.fullmatch(one.key) and not _is_handed(one)]
    variables = dict.fromkeys(one.name for one in references if one.scheme == "env")
    files = dict.fromkeys(_mounted(one) for one in references if one.scheme == "file")
    names = Counter((*variables, *(posixpath.basename(path) for path in files)))
    return (
        *(Held(name, variable=name) for name in variables),
        *(
            Held(key(posixpath.basename(path) if names[posixpath.basename(path)] == 1 else path.strip("/")), path=path)
            for path in files
        ),
    )


def _references(job: Job) -> Iterator[Reference]:
    """Yield where secrets are kept, those included that an agents file names."""
    yield from secrets(job)
    yield from feeds(job, _listed(job))


def _listed(job: Job) -> tuple[Calendar, ...]:
    """Return the calendars whose addresses stand in an agents file; what a query says is not known here."""
    feeding = tuple(
        source
        for source in job.sources
        if isinstance(source, Ics) and source.agents is not None and not source.agents.query
    )
    return tuple(directory(job.model_copy(update={"sources": feeding}), None).calendars) if feeding else ()


def _is_handed(one: Reference) -> bool:
    """Tell whether the cluster itself keeps this file fresh (workload identity): it is in no Secret."""
    return one.key.endswith(".federated")


def _mounted(one: Reference) -> str:
    path = posixpath.normpath(posixpath.join(JOBS, one.name))
    if posixpath.dirname(path) == "/":
        raise ConfigError((Problem(one.key, "names a file that lies in no folder", "file:/run/secrets/NAME"),))
    return path


def _asks_crm(job: Job) -> bool:
    return any(source.agents is not None and source.agents.query is not None for source in job.sources)


# ---- whom to talk to ------------------------------------------------------------------------------------------------


def reaches(job: Job, kind: str) -> tuple[Reach, ...]:
    """Return what a kind of command talks to, each under a name of its own."""
    return tuple(reach for reach in _reaches(job, kind) if reach.ports)


def _reaches(job: Job, kind: str) -> Iterator[Reach]:
    yield Reach("databases", tuple(sorted({*_databases(job, kind)})))
    if kind in READING:
        yield from _calendars(job)
    if kind in SENDING:
        yield from _mail(job)
    if kind in MEASURED and job.metrics.pushgateway is not None:
        yield _pushgateway(job.metrics.pushgateway)


def _databases(job: Job, kind: str) -> Iterator[int]:
    yield from _port(job.state, POSTGRESQL)
    if isinstance(job.crm, SqlCrm) and (kind in READING or _asks_crm(job)):
        for url in (job.crm.url, job.crm.write_url):
            yield from _port(url, POSTGRESQL, MYSQL) if url else ()


def _port(url: Secret, *unknown: int) -> tuple[int, ...]:
    """Return the port of a URL that is not secret; of one that is, those it may have."""
    if url.reference is not None:
        return unknown
    port = urlsplit(url.literal).port
    return (port,) if port else _PORTS.get(dialect_of(url.literal), unknown)


def _calendars(job: Job) -> Iterator[Reach]:
    if any(isinstance(source, Google | Microsoft) or not _local(source) for source in job.sources):
        private = any(isinstance(source, Ics) and source.allow_private for source in job.sources)
        yield Reach("calendars", _ports(job), Whereto.ANYWHERE if private else Whereto.INTERNET)
    if any(isinstance(source, Google) and _asks_machine(source) for source in job.sources):
        yield Reach("metadata", _METADATA, Whereto.METADATA)


def _ports(job: Job) -> tuple[int, ...]:
    """Return the port that tokens and feeds are asked for at, and those that addresses in the job's files name."""
    urls = (source.url.literal if source.url else "" for source in job.sources if isinstance(source, Ics))
    ends = (source.endpoint for source in job.sources if not isinstance(source, Ics))
    listed = (one.location for one in _listed(job) if "://" in one.location)
    return tuple(sorted({HTTPS, *(port for url in (*urls, *ends, *listed) if (port := urlsplit(url).port))}))


def _local(source: Ics) -> bool:
    return source.path is not None


def _asks_machine(source: Google) -> bool:
    """Tell whether the machine's own credential asks for signatures."""
    ways = [auth for auth in (source.auth, source.auth_write) if auth is not None]
    return any(auth.impersonate and not auth.token and not auth.service_account for auth in ways)


def _mail(job: Job) -> Iterator[Reach]:
    if job.report.mail is not None:
        yield Reach("mail", _port(job.report.mail.smtp, *SMTP) or SMTP)
    if job.report.webhook is not None:
        yield Reach("webhook", (HTTPS,), Whereto.ANYWHERE if job.report.webhook.allow_private else Whereto.INTERNET)


def _pushgateway(url: Secret) -> Reach:
    parts = urlsplit(url.literal)
    host = parts.hostname or ""
    inside = url.reference is None and ("." not in host or host.endswith((".svc", ".svc.cluster.local")))
    standard = {"http": HTTP, "https": HTTPS}.get(parts.scheme, PUSHGATEWAY)
    return Reach("pushgateway", (parts.port or standard,), Whereto.CLUSTER if inside else Whereto.ANYWHERE)
