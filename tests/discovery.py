"""Google's own description of its Calendar API, as it comes with the client: what bodies may look like."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import date, datetime
from functools import cache
from typing import Any, Final

import orjson
from googleapiclient import discovery_cache

Schema = Mapping[str, Any]

_TYPES: Final[dict[str, type | tuple[type, ...]]] = {
    "string": str,
    "boolean": bool,
    "integer": int,
    "number": (int, float),
    "array": list,
    "object": dict,
}


@cache
def document() -> dict[str, Any]:
    """Return the discovery document that the client library brings along."""
    found: dict[str, Any] = orjson.loads(discovery_cache.get_static_doc("calendar", "v3"))
    return found


def schema(name: str) -> Schema:
    found: Schema = document()["schemas"][name]
    return found


def check(schema_name: str, body: object) -> None:
    """Hold a body against a schema (`Event`, `Events`, …): unknown keys, wrong types and bad dates fail."""
    problems = list(_problems(schema(schema_name), body, schema_name))
    assert not problems, "; ".join(problems)


def _problems(wanted: Schema, body: object, where: str) -> Iterator[str]:
    if "$ref" in wanted:
        yield from _problems(schema(wanted["$ref"]), body, where)
        return
    kind = wanted.get("type", "any")
    if kind == "any":
        return
    if not isinstance(body, _TYPES[kind]) or (isinstance(body, bool) and kind != "boolean"):
        yield f"{where} is {type(body).__name__}, not {kind}"
    elif isinstance(body, dict):
        yield from _problems_of_keys(wanted, body, where)
    elif isinstance(body, list):
        for number, item in enumerate(body):
            yield from _problems(wanted["items"], item, f"{where}[{number}]")
    elif isinstance(body, str):
        yield from _problems_of_text(wanted, body, where)


def _problems_of_keys(wanted: Schema, body: Mapping[str, object], where: str) -> Iterator[str]:
    known, more = wanted.get("properties", {}), wanted.get("additionalProperties")
    for name, value in body.items():
        inner = known.get(name, more)
        if inner is None:
            yield f"{where}.{name} is unknown"
        else:
            yield from _problems(inner, value, f"{where}.{name}")


def _problems_of_text(wanted: Schema, text: str, where: str) -> Iterator[str]:
    if "enum" in wanted and text not in wanted["enum"]:
        yield f"{where} is {text!r}, which is none of {wanted['enum']}"
    try:
        match wanted.get("format"):
            case "date":
                date.fromisoformat(text)
            case "date-time":
                assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)?", text), "not RFC 3339"
                datetime.fromisoformat(text)
    except (AssertionError, ValueError) as error:
        yield f"{where} is {text!r}: {error}"
