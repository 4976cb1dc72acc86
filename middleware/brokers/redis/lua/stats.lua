-- stats.lua — depth of every state, for all queues of the call.
-- Parts   base due
-- Needs   ready messages delayed leases lanes lane_waiting group_waiting dead control counters
-- Returns  per queue: ready, delayed, in flight, waiting in a lane, waiting in a group, dead, body of the oldest ready | '',
--          death of the oldest letter in ms | -1, lanes held, next_due_in_ms | -1, paused_at_ms | 0, now_ms,
--          counters as a flat list of field, value
local report = {}
for index = 0, #KEYS / WIDTH - 1 do
  bind(index)
  local void_ready = tonumber(redis.call("HGET", control, "void_ready") or 0)
  local void_waiting = tonumber(redis.call("HGET", control, "void_waiting") or 0)
  local oldest = redis.call("LINDEX", ready, 0)
  local oldest_death = redis.call("ZRANGE", dead, 0, 0, "WITHSCORES")[2]
  -- A cancelled one that waits may stand in either list, and sometimes in ready after all; most wait in lanes.
  local in_lanes, in_groups = redis.call("ZCARD", lane_waiting), redis.call("ZCARD", group_waiting)
  local void_in_lanes = math.min(void_waiting, in_lanes)
  local void_in_groups = math.min(void_waiting - void_in_lanes, in_groups)
  report[#report + 1] = {
    math.max(0, redis.call("LLEN", ready) - void_ready - (void_waiting - void_in_lanes - void_in_groups)),
    redis.call("ZCARD", delayed),
    redis.call("ZCARD", leases),
    in_lanes - void_in_lanes,
    in_groups - void_in_groups,
    redis.call("ZCARD", dead),
    oldest and redis.call("HGET", messages, oldest) or "",
    oldest_death and tonumber(oldest_death) or -1,
    redis.call("HLEN", lanes),
    next_due_in(),
    tonumber(redis.call("HGET", control, "paused_at_ms") or 0),
    now_ms,
    redis.call("HGETALL", counters),
  }
end
return report
