"""A job file as the program sees it: one brokerage, its calendars and its CRM."""

from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import Field, StrictBool, TypeAdapter

from reconciler.config.crm import Crm
from reconciler.config.secret import StateUrl
from reconciler.config.sections import (
    Budget,
    Limits,
    Metrics,
    Policy,
    Report,
    Retention,
    RunSection,
    WindowSection,
)
from reconciler.config.sources import Source
from reconciler.config.values import Name, Section


class Job(Section):
    """Everything one job file says, with its defaults filled in. `path` is the file itself."""

    path: Annotated[Path, Field(strict=False)]
    name: Name
    state: StateUrl
    window: WindowSection = WindowSection()
    run: RunSection = RunSection()
    sources: tuple[Source, ...] = Field(alias="source")
    crm: Crm
    policy: Policy = Policy()
    limits: Limits = Limits()
    budget: dict[str, Budget] = Field(default_factory=dict)
    report: Report = Report()
    metrics: Metrics = Metrics()
    retention: Retention = Retention()
    strict_secrets: StrictBool = False

    @property
    def base(self) -> Path:
        """Return the folder that the file's relative paths are relative to."""
        return self.path.parent

    @property
    def compared(self) -> tuple[str, ...]:
        """Return the fields that are compared: those of `policy.compare` that the CRM has a column for."""
        return tuple(word for word in self.policy.compare if word in self.crm.columns.comparable)


SECTIONS: Final[dict[str, TypeAdapter[Any]]] = {
    "name": TypeAdapter(Name),
    "state": TypeAdapter(StateUrl),
    "window": TypeAdapter(WindowSection),
    "run": TypeAdapter(RunSection),
    "crm": TypeAdapter(Crm),
    "policy": TypeAdapter(Policy),
    "limits": TypeAdapter(Limits),
    "budget": TypeAdapter(dict[str, Budget]),
    "report": TypeAdapter(Report),
    "metrics": TypeAdapter(Metrics),
    "retention": TypeAdapter(Retention),
    "strict_secrets": TypeAdapter(StrictBool),
}
"""What each top-level key holds, validated one by one: a mistake in one never hides those in another."""

SOURCE: Final[TypeAdapter[Any]] = TypeAdapter(Source)
REQUIRED: Final = ("name", "state", "source", "crm")
