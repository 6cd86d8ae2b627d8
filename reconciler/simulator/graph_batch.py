"""JSON batching of the stand-in Graph: up to twenty requests in one, each with a fate of its own (facts §4)."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final
from urllib.parse import parse_qs

import orjson

from reconciler.simulator.graph_refusals import RefusedError
from reconciler.simulator.graph_series import Resource
from reconciler.simulator.loopback import Answer, Request

MOST: Final = 20
AT_ONCE: Final = 4

Run = Callable[[Sequence[Request]], list[Answer]]


@dataclass(frozen=True, slots=True)
class Item:
    """One request of a batch."""

    id: str
    request: Request
    after: tuple[str, ...]


def items_of(request: Request, version: str) -> list[Item]:
    """Read a batch; refuse one that is too long or names two requests alike."""
    try:
        listed = orjson.loads(request.body)["requests"]
        items = [_item(one, request, version) for one in listed]
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise RefusedError(400, "BadRequest", "Invalid batch payload format.") from error
    if len(items) > MOST:
        raise RefusedError(400, "BadRequest", f"Number of batch request steps exceeds the maximum value of {MOST}.")
    if len({item.id for item in items}) < len(items):
        raise RefusedError(400, "BadRequest", "Request id in a batch must be unique.")
    return items


def _item(one: Resource, outer: Request, version: str) -> Item:
    """Read one request; headers of the batch do not reach it, but for who asks."""
    path, _, query = one["url"].partition("?")
    own = {name.lower(): str(value) for name, value in (one.get("headers") or {}).items()}
    headers = {"authorization": outer.headers.get("authorization", "")} | own
    body = orjson.dumps(one["body"]) if one.get("body") is not None else b""
    path = f"/{version}/{path.lstrip('/')}"
    read = Request(one["method"].upper(), path, parse_qs(query, keep_blank_values=True), headers, body)
    return Item(str(one["id"]), read, tuple(one.get("dependsOn") or ()))


def answered(items: list[Item], run: Run, seed: int) -> Answer:
    """Carry out a batch: what depends on what failed is not done; answers come in no order."""
    done: dict[str, Answer] = {}
    waiting = list(items)
    while waiting:
        ready = [item for item in waiting if all(name in done for name in item.after)] or waiting
        waiting = [item for item in waiting if item not in ready]
        lost = {item.id for item in ready if any(not _went_well(done.get(name)) for name in item.after)}
        done |= {name: Answer(status=HTTPStatus.FAILED_DEPENDENCY) for name in lost}
        going = [item for item in ready if item.id not in lost]
        done |= dict(zip((item.id for item in going), run([item.request for item in going]), strict=True))
    told = [_told(name, answer) for name, answer in done.items()]
    told.sort(key=lambda one: zlib.crc32(f"{seed}/{one['id']}".encode()))
    return Answer(body=orjson.dumps({"responses": told}))


def _went_well(answer: Answer | None) -> bool:
    return answer is not None and answer.status < HTTPStatus.BAD_REQUEST and not answer.lost


def _told(name: str, answer: Answer) -> Resource:
    """Write one answer; one that was lost on the way comes as a gateway's."""
    if answer.lost or answer.cut:
        return {"id": name, "status": int(HTTPStatus.GATEWAY_TIMEOUT), "headers": {}, "body": None}
    headers = dict(answer.headers) | ({"Content-Type": answer.content_type} if answer.body else {})
    told: Resource = {"id": name, "status": int(answer.status), "headers": headers}
    return told | ({"body": _body(answer)} if answer.body else {})


def _body(answer: Answer) -> object:
    """Return JSON as it is, and everything else in base64."""
    try:
        return orjson.loads(answer.body)
    except orjson.JSONDecodeError:
        return base64.b64encode(answer.body).decode()
