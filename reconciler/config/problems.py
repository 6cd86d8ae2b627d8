"""What pydantic finds wrong, said the way this program speaks: where, what, what to do. Input is never echoed raw."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from reconciler.config.secret import Reference
from reconciler.config.values import WrongError, nearest, one_of, shown
from reconciler.errors import Problem
from reconciler.text import line

_SENTENCES: Final[Mapping[str, str]] = {
    "string_type": "must be text in quotes",
    "bool_type": "must be true or false, without quotes",
    "int_type": "must be a whole number, without quotes",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number, without quotes",
    "finite_number": "must be a number",
    "tuple_type": "must be a list, in [ ]",
    "dict_type": "must be a table",
    "model_type": "must be a table",
    "model_attributes_type": "must be a table",
    "too_short": "is empty",
    "greater_than": "must be more than {gt:g}",
    "greater_than_equal": "must be at least {ge:g}",
    "less_than_equal": "must be at most {le:g}",
}
_EXAMPLES: Final[Mapping[str, str]] = {
    "name": 'name = "acme"',
    "state": 'state = "sqlite:///var/acme.db"',
    "source": "at least one [[source]] table, with its kind",
    "crm": 'a [crm] table, with kind = "sql" or "csv"',
    "time": 'how the CRM keeps times: time = "utc", "aware", "local:America/Chicago" or "local:agent"',
    "columns": 'columns = { id = "id", agent = "agent_email", start = "starts_at", end = "ends_at" }',
    "id": 'the primary key: columns = { id = "id", ... }',
    "agent": 'whose record it is: columns = { agent = "agent_email", ... }',
    "start": 'columns = { start = "starts_at", ... }',
    "end": 'columns = { end = "ends_at", ... }',
    "url": 'url = "env:CRM_URL"',
    "path": 'path = "export.csv"',
    "table": 'table = "appointments"',
    "auth": 'auth = { token = "env:TOKEN" }, or the credentials of a service',
    "agents": 'agents = ["ann@acme.example"], or { file = "agents.csv" }',
    "confirmed": 'status = { confirmed = "scheduled", ... }',
    "smtp": 'smtp = "env:SMTP_URL"',
    "to": 'to = ["ops@acme.example"]',
    "from": 'from = "reconcile@acme.example"',
}


def translated(error: ValidationError, section: str, models: Iterable[type[BaseModel]]) -> Iterator[Problem]:
    """Yield one problem for each thing that `error` lists about `section`, which is made of one of `models`."""
    for detail in error.errors(include_url=False):
        kind, steps = _steps(detail["loc"], tuple(models))
        family = _family(kind, tuple(models))
        yield _problem(detail, section, steps, family)


def missing(key: str) -> Problem:
    """Make the problem of a key that has to be there."""
    return Problem(key, "is required", _EXAMPLES.get(key.rpartition(".")[2], ""))


def unknown(key: str, known: Iterable[str]) -> Problem:
    """Make the problem of a key that means nothing here."""
    return Problem(key, "is an unknown key", nearest(key.rpartition(".")[2], known) or one_of(known))


def keyed(section: str, steps: Iterable[int | str]) -> str:
    """Spell a place as `crm.columns.start` or `source[2].agents[1]`; positions count from one."""
    key = section
    for step in steps:
        key += f"[{step + 1}]" if isinstance(step, int) else f".{line(step, 60)}" if key else line(step, 60)
    return key


def models_in(annotation: object) -> tuple[type[BaseModel], ...]:
    """Return the models that a value of this annotation can be, or hold."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return (annotation,)
    return tuple(model for part in get_args(annotation) for model in models_in(part))


def _kind_of(model: type[BaseModel]) -> str:
    field = model.model_fields.get("kind")
    return str(get_args(field.annotation)[0]) if field else ""


def _steps(loc: tuple[int | str, ...], models: tuple[type[BaseModel], ...]) -> tuple[str, tuple[int | str, ...]]:
    """Part pydantic's place into the kind of table it chose, if any, and the steps that the job file has."""
    kind = str(loc[0]) if loc and loc[0] in {_kind_of(model) for model in models} - {""} else ""
    steps = loc[1:] if kind else loc
    return kind, tuple(step for step in steps if step not in {"listed", "[key]"})


def _family(kind: str, models: tuple[type[BaseModel], ...]) -> tuple[type[BaseModel], ...]:
    return tuple(model for model in models if not kind or _kind_of(model) == kind)


def _problem(
    detail: ErrorDetails, section: str, steps: tuple[int | str, ...], models: tuple[type[BaseModel], ...]
) -> Problem:
    key, context = keyed(section, steps), detail.get("ctx", {})
    match detail["type"]:
        case "missing":
            return missing(key)
        case "extra_forbidden":
            return unknown(key, _keys_at(models, steps[:-1]))
        case "union_tag_not_found":
            return Problem(f"{key}.kind", "is required", one_of(_kind_of(model) for model in models))
        case "union_tag_invalid":
            tag, kinds = str(context["tag"]), [_kind_of(model) for model in models]
            return Problem(f"{key}.kind", f"{shown(tag)} is not a kind", nearest(tag, kinds) or one_of(kinds))
        case "value_error" if isinstance(context.get("error"), WrongError):
            wrong = context["error"]
            return Problem(key, wrong.what, wrong.hint)
        case _:
            return _value_problem(key, detail)


def _value_problem(key: str, detail: ErrorDetails) -> Problem:
    value, context = detail["input"], detail.get("ctx", {})
    if isinstance(value, Reference):
        return Problem(key, f"can't be read by {value.scheme}:", "only keys that may hold a secret can; write it here")
    if detail["type"] in {"literal_error", "enum"}:
        words = [word.strip("' ") for word in str(context["expected"]).replace(" or ", ", ").split(", ")]
        hint = (nearest(value, words) if isinstance(value, str) else "") or one_of(words)
        return Problem(key, f"{shown(value)} is not possible here", hint)
    sentence = _SENTENCES.get(detail["type"], "is not a value that this key can have")
    return Problem(key, sentence.format(**context))


def _keys_at(models: tuple[type[BaseModel], ...], steps: Iterable[int | str]) -> list[str]:
    """Return the keys that are possible at this place."""
    for step in steps:
        fields = [model.model_fields[step] for model in models if isinstance(step, str) and step in model.model_fields]
        models = tuple(inner for field in fields for inner in models_in(field.annotation)) or models
    keys = {field.alias or name for model in models for name, field in model.model_fields.items()}
    return sorted(keys - {"listed"})
