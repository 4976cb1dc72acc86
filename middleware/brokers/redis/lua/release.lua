-- release.lua — give messages back unfinished, to the head, in their order (shutdown, lost interest).
-- Parts   base leases slots
-- Needs   ready deliveries
-- ARGV[1] started       integer  1 = they ran and did not end: it counts as a crash; 0 = they never started
-- ARGV[2…] id, token    pairs, in the order in which they were handed out
-- Returns  number given back; one whose lease is another's is left alone
local started = ARGV[1] == "1"
local released = 0
for index = #ARGV - 1, 2, -2 do
  local id, token = ARGV[index], ARGV[index + 1]
  if end_lease(id, token) then
    if started then
      redis.call("HINCRBY", deliveries, id, 1)
    end
    stop_running(id)
    redis.call("LPUSH", ready, id)
    released = released + 1
  end
end
if released > 0 then
  count("released", released)
  ring()
end
return released
