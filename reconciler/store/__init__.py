"""The state database: what was observed, agreed, meant and done. The only place that knows its tables."""
