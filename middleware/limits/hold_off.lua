-- hold_off.lua — let nobody take of a bucket for a time that grows with every call in a row.
-- KEYS[1]  string   bucket: the time at which it is whole again, in ms
-- KEYS[2]  string   strikes: calls in a row
-- ARGV[1]  number   base_ms: the first time
-- ARGV[2]  number   factor: the next is so many times as long
-- ARGV[3]  integer  cap_ms
-- ARGV[4]  number   interval_ms of the bucket
-- ARGV[5]  integer  burst of the bucket
-- Returns  integer  for_ms
-- Strikes are forgotten when nothing struck for twice the time.
local time = redis.call("TIME")
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
local strikes = redis.call("INCR", KEYS[2])
local for_ms = math.min(tonumber(ARGV[3]), math.ceil(tonumber(ARGV[1]) * tonumber(ARGV[2]) ^ (strikes - 1)))
redis.call("PEXPIRE", KEYS[2], for_ms * 2 + 1000)
local whole_at = now_ms + for_ms + (tonumber(ARGV[5]) - 1) * tonumber(ARGV[4])
if whole_at > tonumber(redis.call("GET", KEYS[1]) or 0) then
  redis.call("SET", KEYS[1], string.format("%.3f", whole_at), "PX", math.ceil(whole_at - now_ms) + 1)
end
return for_ms
