"""The command line: it alone touches arguments, environment and the time of day, and hands them on as values."""

from reconciler.cli.entry import main

__all__ = ["main"]
