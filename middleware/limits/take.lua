-- take.lua — take a place, one of a quota and one of each bucket, all or nothing.
-- KEYS[1]      hash     records
-- KEYS[2]      zset     places: holder → until_ms
-- KEYS[3]      zset     quota: holder → until_ms
-- KEYS[4…]     string   buckets: the time at which each is whole again, in ms
-- ARGV[1]      text     record that is told with the answer; one that begins with '!' lets nobody take
-- ARGV[2]      text     who takes; a place that it has already is kept
-- ARGV[3]      integer  most places; -1 = any number
-- ARGV[4]      integer  for_ms: so long a place is kept for whoever does not give it back
-- ARGV[5]      integer  most of the quota; -1 = any number
-- ARGV[6]      integer  for_ms of the quota, which nobody gives back
-- ARGV[7…]     per bucket: interval_ms, burst
-- Returns      { wait_ms, record, by }: 0 = taken · -1 = not before somebody else changes it · else for so long. by: index of
--              the key that says no, 1 = the record. But for 0 nothing was taken
-- Time         always Redis' own clock
local time = redis.call("TIME")
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
local record, holder = redis.call("HGET", KEYS[1], ARGV[1]), ARGV[2]

if record and string.sub(record, 1, 1) == "!" then
  return { -1, record, 1 }
end

local limits = { [2] = tonumber(ARGV[3]), [3] = tonumber(ARGV[5]) }
for index = 2, 3 do
  local key, limit = KEYS[index], limits[index]
  if limit >= 0 then
    redis.call("ZREMRANGEBYSCORE", key, "-inf", now_ms)
    if not redis.call("ZSCORE", key, holder) and redis.call("ZCARD", key) >= limit then
      local first = redis.call("ZRANGE", key, 0, 0, "WITHSCORES")[2]
      return { (index == 2 or not first) and -1 or math.max(1, first - now_ms), record, index }
    end
  end
end

local wait_ms, whole_at, by = 0, {}, 0
for index = 4, #KEYS do
  local interval_ms, burst = tonumber(ARGV[index * 2 - 1]), tonumber(ARGV[index * 2])
  local at_ms = math.max(tonumber(redis.call("GET", KEYS[index]) or 0), now_ms)
  local late_ms = at_ms - (burst - 1) * interval_ms - now_ms
  if late_ms > wait_ms then
    wait_ms, by = late_ms, index
  end
  -- One without an interval only holds off.
  whole_at[index] = interval_ms > 0 and at_ms + interval_ms or nil
end
if wait_ms > 0 then
  return { math.ceil(wait_ms), record, by }
end

for index, at_ms in pairs(whole_at) do
  redis.call("SET", KEYS[index], string.format("%.3f", at_ms), "PX", math.ceil(at_ms - now_ms) + 1)
end
for index = 2, 3 do
  if limits[index] >= 0 then
    local for_ms = tonumber(ARGV[index * 2])
    redis.call("ZADD", KEYS[index], now_ms + for_ms, holder)
    redis.call("PEXPIRE", KEYS[index], math.max(for_ms, redis.call("PTTL", KEYS[index])))
  end
end
return { 0, record, 0 }
