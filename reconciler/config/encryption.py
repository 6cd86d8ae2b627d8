"""How a database is connected to so that nobody can pretend to be it: verified TLS, but on this machine.

What a URL says may add a certificate authority, or a certificate to show, and take nothing away. A URL is judged as
its driver reads it: by all the hosts in it, wherever in it they stand.
"""

import ssl
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, TypeAlias

from reconciler.config.hosts import is_loopback
from reconciler.config.values import WrongError

Query: TypeAlias = Mapping[str, Sequence[str] | str]

VERIFIED: Final = "verify-full"
_HINT: Final = "a server elsewhere is verified, always; its authority, if it is your own: {}"
_ADDS: Final = ("ssl_ca", "ssl_capath")
_SHOWN: Final = ("ssl_cert", "ssl_key")
_PLACES: Final = ("host", "hostaddr")
_ELSEWHERE: Final = ("service", "read_default_file", "read_default_group")
"""Options by which a driver takes the host from a file."""


def is_local(host: str | None, query: Query) -> bool:
    """Tell whether every host of a database URL can only be this machine: loopback, or a socket in its files."""
    named = [each for value in (host or "", *_values(query, _PLACES)) for each in value.split(",") if each]
    if "unix_socket" in query:
        return True
    if any(name in query for name in _ELSEWHERE):
        return False
    return all(each.startswith(("/", "@")) or is_loopback(_bare(each)) for each in named)


def postgresql(host: str | None, query: Query) -> dict[str, str]:
    """Return what a URL of PostgreSQL lacks for verified TLS. Raises WrongError if it asks for less.

    Without a host the driver may find one in its environment; on a socket it leaves TLS aside by itself.
    """
    if is_local(host, query) and (host or any(_values(query, _PLACES))):
        return {} if "hostaddr" in query else {"hostaddr": ""}  # else the environment could name another machine
    asked = query.get("sslmode")
    if asked is None:
        paths = ssl.get_default_verify_paths()
        return {"sslmode": VERIFIED, **({} if "sslrootcert" in query else {"sslrootcert": paths.cafile or "system"})}
    if asked != VERIFIED:
        raise WrongError(f"asks for less than sslmode={VERIFIED}", _HINT.format("sslrootcert=FILE"))
    return {}


def mysql(host: str | None, query: Query) -> ssl.SSLContext | None:
    """Return how a server of MySQL or MariaDB is verified, None on this machine. Raises WrongError for what is less."""
    if is_local(host, query):
        return None
    if wrong := sorted(name for name in query if name.startswith("ssl") and name not in {*_ADDS, *_SHOWN}):
        raise WrongError(f"has {wrong[0]}", _HINT.format("ssl_ca=FILE"))
    try:
        context = ssl.create_default_context(cafile=_file(query, "ssl_ca"), capath=_file(query, "ssl_capath"))
        if shown := _file(query, "ssl_cert"):
            context.load_cert_chain(shown, _file(query, "ssl_key"))
    except OSError as error:
        raise WrongError(f"names a certificate that can't be read: {error.strerror or 'it is none'}") from None
    return context


def taken(query: Query) -> tuple[str, ...]:
    """Return the options of a MySQL URL that `mysql` has put into its context."""
    return tuple(name for name in (*_ADDS, *_SHOWN) if name in query)


def _file(query: Query, name: str) -> str | None:
    return str(query[name]) if name in query else None


def _values(query: Query, names: Sequence[str]) -> Iterator[str]:
    for name in names:
        value = query.get(name, ())
        yield from (value,) if isinstance(value, str) else value


def _bare(host: str) -> str:
    """Return a host without its port: SQLAlchemy lets several be named as `host:port`."""
    name, colon, port = host.rpartition(":")
    return name.strip("[]") if colon and port.isdigit() and (":" not in name or name.startswith("[")) else host
