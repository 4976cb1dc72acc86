"""The checks of ``doctor``: one file per subject; ``run`` has them all in order, ``start_gate`` has a starting worker make some."""
