"""Chat actors: deliver what Django committed."""
