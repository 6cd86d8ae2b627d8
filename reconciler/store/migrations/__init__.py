"""The history of the state database's tables."""
