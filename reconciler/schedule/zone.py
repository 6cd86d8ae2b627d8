"""The zone in which cron reads its lines where they name none: the machine's own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

LINK: Final = Path("/etc/localtime")
"""What names the zone on any Unix: a link into the system's own zones."""


def machine_zone(environ: Mapping[str, str], link: Path = LINK) -> ZoneInfo:
    """Return the zone of this machine's clock: as `TZ` says, else as the system does; UTC where neither names one."""
    named = environ.get("TZ", "").lstrip(":")
    try:
        return ZoneInfo(named or _linked(link))
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return ZoneInfo("UTC")


def _linked(link: Path) -> str:
    return str(link.readlink()).rpartition("zoneinfo/")[2]
