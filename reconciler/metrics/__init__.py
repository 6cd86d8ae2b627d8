"""What is measured of a job, for Prometheus: families made of its state, left in a text file or pushed to a gateway.

Gauges say how it is, of the last run as of everything else; counters are kept in the state and only ever grow. Nothing
is labelled with a person. prometheus_client takes longer to import than most commands take: who measures nothing never
loads this package's other modules.
"""
