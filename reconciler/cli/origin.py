"""Who asks, why, and from where: what a person says of it, the account of this process, its machine and its pod."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from reconciler import text
from reconciler.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

_LONG: Final = 80
_LONGEST_NAME: Final = 200
_LONGEST_WHY: Final = 1000


def said(by: str, why: str) -> tuple[str, str]:
    """Return who decides and why, inert and bounded. Raises UsageError for either that says nothing."""
    name, reason = text.line(by, _LONGEST_NAME), text.line(why, _LONGEST_WHY)
    for option, word in (("--by", name), ("--why", reason)):
        if not word:
            raise UsageError(f"{option} says nothing: what a person decides is kept with who did and why.")
    return name, reason


def who() -> str:
    """Return the account that this process runs as, by the system's word and not by the environment's."""
    import pwd

    try:
        return text.line(pwd.getpwuid(os.getuid()).pw_name, _LONG)
    except KeyError:  # containers run as numbers that no file names
        return f"uid {os.getuid()}"


def origin(environ: Mapping[str, str]) -> str:
    """Say from where: `user ann, host desk7`, and the pod where the environment names one."""
    import socket

    host = environ.get("HOSTNAME") or socket.gethostname()
    pod = environ.get("POD_NAME")
    said = [f"user {who()}", f"host {text.line(host, _LONG)}", *([f"pod {text.line(pod, _LONG)}"] if pod else [])]
    return ", ".join(said)
