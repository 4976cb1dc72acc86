"""Stores: where chat state lives; ``base`` says what one must do and finds them by name."""
