"""Conversations, messages, attachments and instances, with the columns of a usual chat product."""
