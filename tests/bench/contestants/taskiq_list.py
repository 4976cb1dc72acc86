"""taskiq over a Redis list."""

from bench.contestant import url
from bench.taskiq_contestant import Taskiq
from taskiq_redis import ListQueueBroker

broker = ListQueueBroker(url())
contestant = Taskiq("taskiq, list", broker)
