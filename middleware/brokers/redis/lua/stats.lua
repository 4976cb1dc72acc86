-- stats.lua — depth of every state, for all queues of the call.
-- Returns  per queue: ready, delayed, in flight, waiting in a lane, dead, age of the oldest ready in ms | -1, lanes held,
--          next_due_in_ms | -1, counters as a flat list of field, value
local report = {}
for index = 0, #KEYS / WIDTH - 1 do
  bind(index)
  local oldest_age_ms = -1
  local oldest = redis.call("LINDEX", ready, 0)
  if oldest then
    oldest_age_ms = math.max(0, now_ms - (facts_of(oldest).enqueued_at_ms or now_ms))
  end
  report[#report + 1] = {
    redis.call("LLEN", ready), redis.call("ZCARD", delayed), redis.call("ZCARD", leases),
    redis.call("ZCARD", lane_waiting), redis.call("ZCARD", dead), oldest_age_ms, redis.call("HLEN", lanes),
    next_due_in(), redis.call("HGETALL", counters),
  }
end
return report
