-- tick.lua — mark a slot of a periodic actor as sent. Stands alone: it touches no queue and has no prelude.
-- KEYS[1] ticks      sorted set  'actor@slot_ms' → forget_at_ms
-- ARGV[1] slot       text        'actor@slot_ms'
-- ARGV[2] keep_ms    integer     how long the mark is remembered
-- Returns  1 marked by this call · 0 it was marked before
-- Safe to repeat and to run from any number of processes: the first one marks, time is Redis' own.
local ticks, slot, keep_ms = KEYS[1], ARGV[1], tonumber(ARGV[2])
local time = redis.call("TIME")
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call("ZREMRANGEBYSCORE", ticks, "-inf", now_ms)
return redis.call("ZADD", ticks, "NX", now_ms + keep_ms, slot)
