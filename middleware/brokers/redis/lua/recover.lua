-- recover.lua — put messages back among the ready ones that are in no place though their bodies are there: an evicted list.
-- Parts   base facts leases
-- Needs   ready messages delayed slots
-- ARGV[1…] ids  text  messages that somebody expects to run one day
-- Returns  ids put back
-- Only while nothing is ready: then who was admitted, has no lease and no eta stands nowhere. Among others it could only be
-- looked for at the cost of the whole list. Safe to repeat: who is put back is ready, and nobody is lost while one is.
local recovered = {}
if redis.call("LLEN", ready) > 0 then
  return recovered
end
local leased = {}
for _, member in ipairs(redis.call("ZRANGE", leases, 0, -1)) do
  leased[(read_lease(member))] = true
end

local function is_lost(id)
  local facts = facts_of(id)
  -- Without facts it waits for its lane, or stands nowhere without saying so; without a slot it waits for its group.
  if facts == NOWHERE or (facts.group and redis.call("HEXISTS", slots, id) == 0) then
    return false
  end
  return not leased[id] and redis.call("HEXISTS", messages, id) == 1 and not redis.call("ZSCORE", delayed, id)
end

for _, id in ipairs(ARGV) do
  if is_lost(id) then
    leased[id] = true
    recovered[#recovered + 1] = id
  end
end
for _, id in ipairs(recovered) do
  redis.call("RPUSH", ready, id)
end
if #recovered > 0 then
  count("recovered", #recovered)
  ring()
end
return recovered
