"""Carries messages: knows Dramatiq and Redis, never what a message is about."""
