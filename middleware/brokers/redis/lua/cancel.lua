-- cancel.lua — take a message back that nobody runs: its body goes, its id is passed over where it stands.
-- Parts   base facts unique slots groups lanes leases
-- Needs   messages delayed finished control
-- ARGV[1] id   text
-- Returns  'cancelled' · 'running' it has a worker and ends as that decides · 'missing' no such message
local id = ARGV[1]
if redis.call("HEXISTS", messages, id) == 0 then
  return "missing"
end
if is_leased(id) then
  return "running"
end
local facts = facts_of(id)
if redis.call("ZREM", delayed, id) == 0 then
  -- It stands in ready, or it waits: then its place has its facts, and it has no slot.
  local waits = facts.group and redis.call("HEXISTS", slots, id) == 0
  if facts == NOWHERE then
    waits = redis.call("EXISTS", lane_waiting, group_waiting) > 0
  end
  redis.call("HINCRBY", control, waits and "void_waiting" or "void_ready", 1)
end
forget(id)
redis.call("SADD", finished, id)
count("cancelled")
free_unique(id, facts)
leave_slot(id, false)
leave_lane(id, facts.lane)
return "cancelled"
