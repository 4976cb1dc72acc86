"""taskiq over a Redis stream, its own advice where nothing may be lost."""

from bench.contestant import url
from bench.taskiq_contestant import Taskiq
from taskiq_redis import RedisStreamBroker

broker = RedisStreamBroker(url())
contestant = Taskiq("taskiq, stream", broker)
