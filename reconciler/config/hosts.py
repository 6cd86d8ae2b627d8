"""Where a job may send its credentials: the providers' known hosts, this machine, and what the environment names."""

import ipaddress
import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import SplitResult, urlsplit

from reconciler.config.values import WrongError, shown

ALLOW_HOSTS: Final = "RECONCILE_ALLOW_HOSTS"
KNOWN_HOSTS: Final[Mapping[str, frozenset[str]]] = {
    "google": frozenset(
        {"www.googleapis.com", "oauth2.googleapis.com", "accounts.google.com", "iamcredentials.googleapis.com"}
    ),
    "microsoft": frozenset(
        {
            "graph.microsoft.com",
            "graph.microsoft.us",
            "dod-graph.microsoft.us",
            "microsoftgraph.chinacloudapi.cn",
            "login.microsoftonline.com",
            "login.microsoftonline.us",
            "login.partner.microsoftonline.cn",
        }
    ),
}
_UNSAFE: Final = re.compile(r"[^!-~]|[\\\"<>^`{|}]")


def split(url: str) -> SplitResult:
    """Take a URL apart, refusing what programs read differently; no sentence shows it, it may be a secret."""
    if _UNSAFE.search(url):
        raise WrongError("is not a URL: it has spaces, quotes or other characters that a URL can't have")
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise WrongError("is not a URL", "write it like https://calendar.example/feed.ics") from None
    if not parts.scheme or not parts.hostname:
        raise WrongError("is not a URL: scheme or host is missing", "write it like https://calendar.example/feed.ics")
    return parts


def is_loopback(host: str) -> bool:
    """Tell whether `host` can only mean this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def require_tls(parts: SplitResult) -> None:
    """Refuse plain http except on loopback."""
    if parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname or "")):
        return
    raise WrongError(f"uses {shown(parts.scheme)}", "only https is accepted; http only on loopback (127.0.0.1)")


def permitted(url: str, provider: str, environ: Mapping[str, str]) -> str:
    """Return `url` if credentials of `provider` may be sent to it, else raise WrongError with what would allow it."""
    parts = split(url)
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise WrongError("must be a plain address: no user, no password, no ? and no #")
    require_tls(parts)
    host = (parts.hostname or "").lower()
    if is_loopback(host) or host in KNOWN_HOSTS.get(provider, ()) or host in _allowed(environ):
        return url
    raise WrongError(
        f"{shown(host)} is no host of {provider}, and credentials would be sent to it",
        f"if that is meant, set {ALLOW_HOSTS}={host} in the environment of the job",
    )


def _allowed(environ: Mapping[str, str]) -> frozenset[str]:
    return frozenset(environ.get(ALLOW_HOSTS, "").lower().replace(",", " ").split())
