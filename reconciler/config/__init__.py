"""A job file, typed and checked: every problem is found before anything is done, and each names its key.

`load` reads a file and `find` says which; secrets are named in the file and read only when a command needs them.
"""

from reconciler.config.crm import Columns, Crm, CsvCrm, Lookup, SqlCrm, StatusMap
from reconciler.config.hosts import KNOWN_HOSTS, is_loopback, permitted
from reconciler.config.job import Job
from reconciler.config.locate import every, find
from reconciler.config.reading import load
from reconciler.config.relevance import Rule
from reconciler.config.secret import DatabaseUrl, FeedUrl, GatewayUrl, MailUrl, Secret, StateUrl
from reconciler.config.sections import Budget, Limits, Mail, Metrics, Policy, Report, Route, RunSection, WindowSection
from reconciler.config.sources import Agents, Google, GoogleAuth, Ics, Microsoft, MicrosoftAuth, Source
from reconciler.config.values import WrongError

__all__ = [
    "KNOWN_HOSTS",
    "Agents",
    "Budget",
    "Columns",
    "Crm",
    "CsvCrm",
    "DatabaseUrl",
    "FeedUrl",
    "GatewayUrl",
    "Google",
    "GoogleAuth",
    "Ics",
    "Job",
    "Limits",
    "Lookup",
    "Mail",
    "MailUrl",
    "Metrics",
    "Microsoft",
    "MicrosoftAuth",
    "Policy",
    "Report",
    "Route",
    "Rule",
    "RunSection",
    "Secret",
    "Source",
    "SqlCrm",
    "StateUrl",
    "StatusMap",
    "WindowSection",
    "WrongError",
    "every",
    "find",
    "is_loopback",
    "load",
    "permitted",
]
