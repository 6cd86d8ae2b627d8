"""A brokerage in a box: calendars as three programs export them, a CRM in SQLite, and people who edit both."""
