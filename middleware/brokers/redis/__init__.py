"""The Redis carrier: leases, lanes, delays and dead letters, one script per transition."""
