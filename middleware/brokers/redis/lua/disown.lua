-- disown.lua — put back what was handed out in a reply that never came: nobody started it, so it does not count.
-- Parts   base leases slots
-- Needs   ready
-- ARGV[1] owner         text     whose replies were lost; the head of its tokens
-- ARGV[2…] id, token    pairs: what it has in hand
-- Returns  number put back
-- Bounded by what all workers have in flight. Only for whoever fetches this queue for that owner, between two fetches.
local in_hand, disowned = {}, 0
for index = 2, #ARGV, 2 do
  in_hand[lease_of(ARGV[index], ARGV[index + 1])] = true
end
for _, member in ipairs(redis.call("ZREVRANGE", leases, 0, -1)) do
  local id, token = read_lease(member)
  if fetcher_of(token) == ARGV[1] and not in_hand[member] then
    redis.call("ZREM", leases, member)
    stop_running(id)
    redis.call("LPUSH", ready, id)
    disowned = disowned + 1
  end
end
if disowned > 0 then
  count("disowned", disowned)
  ring()
end
return disowned
