"""A host with other names and keys for everything: what ``MODELS`` and ``FIELD_MAP`` are for."""
