"""Who else on this machine can read a secret's file, or change what a job is told: modes, owners and folders.

Nothing is opened here. A file is judged where its links lead, and so is the folder that each name stands in: who may
write there can put another file in its place. Root may do everything everywhere, and is nobody else.
"""

import os
import shlex
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_READ: Final = stat.S_IRGRP | stat.S_IROTH
_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH
_ROOT: Final = 0


@dataclass(frozen=True, slots=True)
class Exposure:
    """What others can do with a file, as the end of a sentence, and what to type against it."""

    what: str
    hint: str


def of_secret(path: Path) -> Exposure | None:
    """Say who else can read or replace the file of a secret; None if nobody, or if it is not there."""
    found = _status(path)
    if found is None:
        return None
    if readable := _readers(found):
        return Exposure(f"can be read by {readable}", _closing(path, found))
    return of_settings(path)


def of_settings(path: Path) -> Exposure | None:
    """Say who else can change a file that says what is done, a job's or its agents'; reading it is no harm."""
    found = _status(path)
    if found is None:
        return None
    if writers := _writers(found):
        return Exposure(f"can be changed by {writers}", f"chmod go-w {_spelled(path)}")
    return next(_replaceable(path), None)


def of_data(path: Path) -> Exposure | None:
    """Say who else can read or write a file that the program keeps its data in, which is 0600."""
    found = _status(path)
    if found is None or not stat.S_IMODE(found.st_mode) & (_READ | _WRITE):
        return None
    return Exposure("can be read or changed by other users of this machine", f"chmod 600 {_spelled(path)}")


def _status(path: Path) -> os.stat_result | None:
    """Return what the system says of a file, links followed; nothing where modes mean nothing."""
    try:
        return path.stat() if os.name == "posix" else None
    except (OSError, ValueError):
        return None  # what is not there is said where it is read


def _readers(found: os.stat_result) -> str:
    if found.st_mode & stat.S_IROTH:
        return "every user of this machine"
    if found.st_mode & stat.S_IRGRP and not _handed_over(found):
        return f"all of group {found.st_gid}"
    return ""


def _handed_over(found: os.stat_result) -> bool:
    """Tell whether root hands a file or a folder to this process by a group, and it has no other way to use it.

    That is how Kubernetes mounts a Secret where `fsGroup` is set (root's, 0440), and how a service reads what is 0640.
    """
    return found.st_uid == _ROOT != os.geteuid() and found.st_gid in {os.getegid(), *os.getgroups()}


def _writers(found: os.stat_result) -> str:
    if found.st_uid not in {_ROOT, os.geteuid()}:
        return f"user {found.st_uid}, whose file it is"
    if found.st_mode & stat.S_IWOTH:
        return "every user of this machine"
    # A user's own group, which has the user's number, is nobody else: many systems leave new files open to it.
    others = found.st_mode & stat.S_IWGRP and found.st_gid != found.st_uid and not _handed_over(found)
    return f"all of group {found.st_gid}" if others else ""


def _replaceable(path: Path) -> Iterator[Exposure]:
    """Yield what others could do to the folder of a file, to the link that stands for it, and to where that leads."""
    for place in dict.fromkeys((path, Path(os.path.realpath(path)))):
        folder, link = _status(place.parent), _own(place)
        if link is not None and stat.S_ISLNK(link.st_mode) and link.st_uid not in {_ROOT, os.geteuid()}:
            yield Exposure(f"is a link that user {link.st_uid} can turn elsewhere", "name the file itself")
        # In a folder with the sticky bit, such as /tmp, everybody may add files and nobody replace another's.
        is_open = folder is not None and not folder.st_mode & stat.S_ISVTX and not _is_read_only(place.parent)
        if folder is not None and is_open and (writers := _writers(folder)):
            yield Exposure(f"is in a folder that can be changed by {writers}", f"chmod go-w {_spelled(place.parent)}")


def _is_read_only(folder: Path) -> bool:
    """Tell whether nobody can write there, whatever its mode: Kubernetes mounts ConfigMaps so, in folders of 0777."""
    return bool(os.statvfs(folder).f_flag & os.ST_RDONLY)


def _own(place: Path) -> os.stat_result | None:
    try:
        return place.lstat()
    except (OSError, ValueError):
        return None


def _closing(path: Path, found: os.stat_result) -> str:
    if found.st_uid == os.geteuid():
        return f"chmod 600 {_spelled(path)}"
    return f"chmod o= {_spelled(path)}, and leave it to a group that has the job's user alone"


def _spelled(path: Path) -> str:
    return shlex.quote(os.path.normpath(path))
