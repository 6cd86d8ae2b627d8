"""Reconcile what calendars say with what the CRM says: observe, compare, plan, and apply what is safe."""

__version__ = "0.1.0"
