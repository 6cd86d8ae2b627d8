"""The other tables of a job file: what the job is about, how it runs, what it may do, and whom it tells."""

from datetime import timedelta
from decimal import Decimal
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

from reconciler.config.brand import Colour, Picture
from reconciler.config.relevance import Rule
from reconciler.config.secret import GatewayUrl, HookUrl, MailUrl, Secret
from reconciler.config.values import (
    Count,
    Domains,
    Duration,
    FilePath,
    LimitText,
    Mailbox,
    Mailboxes,
    Positive,
    Section,
    SomeEmails,
    SomeTime,
    Text,
    Texts,
    Zone,
    unique,
)
from reconciler.limit import Limit
from reconciler.model import Action, Direction, First

Comparable = Literal["start", "end", "all_day", "title", "location", "status", "contact", "participants"]
DEFAULT_COMPARE: Final[tuple[Comparable, ...]] = ("start", "end", "all_day", "status", "contact")
DEFAULT_RELEVANT: Final = (Rule("client"), Rule("linked"), Rule("booked"))


class WindowSection(Section):
    """`[window]`: what the job is about. Changes younger than `settle` are left to the live integration."""

    past: Duration = timedelta(days=7)
    future: SomeTime = timedelta(days=60)
    settle: Duration = timedelta(minutes=10)


class RunSection(Section):
    """`[run]`: when to stop, how long a whole pull counts, and when a calendar is due again.

    A scheduled start waits a part of `jitter` that the job's name fixes, so that many jobs do not start at once.
    """

    deadline: SomeTime | None = None
    freshness: SomeTime = timedelta(hours=24)
    due: Duration = timedelta()
    jitter: Duration = timedelta()


class Retention(Section):
    """`[retention]`: how long the state keeps what no run needs any more; `state prune` drops what is older.

    Of a write its `images` go first (what was there before and after), then all of it with `journal`.
    """

    images: SomeTime = timedelta(days=90)
    journal: SomeTime = timedelta(days=730)
    runs: SomeTime = timedelta(days=400)
    findings: SomeTime = timedelta(days=400)
    deliveries: SomeTime = timedelta(days=400)


def _written(value: object) -> object:
    """Take what a job may be allowed to do by itself. To link by nature is a person's decision, every time."""
    words = [action.value for action in Action if action is not Action.LINK]
    if value not in words:
        raise PydanticCustomError("enum", "not an action that writes", {"expected": ", ".join(words)})
    return value


Writes = Annotated[Action, Field(strict=False), BeforeValidator(_written)]


class Policy(Section):
    """`[policy]`: which way changes travel, and which may be written: none, unless `allow` says so."""

    sync: Annotated[Direction, Field(strict=False)] = Direction.CALENDAR_TO_CRM
    allow: Annotated[tuple[Writes, ...], Field(strict=False), AfterValidator(unique)] = ()
    remove: Literal["cancel", "delete"] = "cancel"
    compare: Annotated[tuple[Comparable, ...], Field(strict=False, min_length=1), AfterValidator(unique)] = (
        DEFAULT_COMPARE
    )
    internal_domains: Domains = ()
    relevant: Annotated[tuple[Rule, ...], Field(strict=False, min_length=1), AfterValidator(unique)] = DEFAULT_RELEVANT
    first: Annotated[First, Field(strict=False)] = First.NEWER


class Limits(Section):
    """`[limits]`: how much one run, and one day, may change."""

    create: LimitText = Limit(25, Decimal(10))
    update: LimitText = Limit(25, Decimal(10))
    cancel: LimitText = Limit(10, Decimal(5))
    delete: LimitText = Limit()
    cap: Positive = 1000
    day: Positive = 10
    agent_cancel: LimitText = Limit(5, Decimal(50))
    over: Literal["refuse", "pace"] = "refuse"
    notify: Count = 0
    unobserved: LimitText = Limit()


class Budget(Section):
    """`[budget.NAME]`: requests of a provider or CRM; None is its published limit, `share` what this job may use."""

    per_minute: Positive | None = None
    per_agent_minute: Positive | None = None
    per_day: Positive | None = None
    share: Annotated[float, Field(gt=0, le=1)] = 0.5


class Mail(Section):
    """`report.mail`: to whom, from whom, through which server."""

    model_config = ConfigDict(populate_by_name=False)

    to: Mailboxes
    sender: Mailbox = Field(alias="from")
    smtp: MailUrl


class Route(Section):
    """`[[report.route]]`: who gets the part of the report about these agents or offices, and nothing else of it."""

    to: Mailboxes
    agent: SomeEmails | None = None
    office: Texts | None = None


class Webhook(Section):
    """`report.webhook`: a chat or a program that is sent the summary; `secret` is the key that it is signed with."""

    url: HookUrl
    secret: Secret | None = None
    format: Literal["slack", "teams", "json"] = "json"
    allow_private: bool = False


class Report(Section):
    """`[report]`: how the discrepancy report looks, and where it goes."""

    title: Text | None = None
    logo: Picture | None = None
    colour: Colour | None = None
    timezone: Zone = "UTC"
    mail: Mail | None = None
    route: Annotated[tuple[Route, ...], Field(strict=False)] = ()
    webhook: Webhook | None = None
    when: Literal["always", "changes"] = "always"
    mask: bool = False


class Metrics(Section):
    """`[metrics]`: where a run leaves its figures."""

    textfile: FilePath | None = None
    pushgateway: GatewayUrl | None = None
