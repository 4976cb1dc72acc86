"""Gateways: one file per provider; ``base`` says what they can do and finds them by name."""
