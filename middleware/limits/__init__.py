"""Limits that all processes share, in a Redis database of their own: buckets, places, and small records.

``gates`` of the queue decide who may start; these are for what only the running attempt knows (the recipient's pair, a day's
quota) and guard what a gate that was lost meanwhile would let through. A lost limit costs pace, never a message.
"""
