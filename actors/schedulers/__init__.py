"""Schedulers: who sends periodic messages; ``base`` says what one must do and finds them by name."""
