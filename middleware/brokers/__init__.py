"""Brokers: one folder or file per backend; ``make_broker`` in ``actors.wiring`` picks one by name."""
