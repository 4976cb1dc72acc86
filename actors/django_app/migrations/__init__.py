"""The schema, in steps that are safe on a database in use."""
