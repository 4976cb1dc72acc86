-- renew.lua — prolong leases.
-- ARGV[1] lease_ms      integer
-- ARGV[2…] id, token    pairs
-- Returns  ids whose lease is another's by now: what they do next must not count
local lease_ms = tonumber(ARGV[1])
local lost = {}
for index = 2, #ARGV, 2 do
  local id, token = ARGV[index], ARGV[index + 1]
  if redis.call("HGET", tokens, id) == token then
    redis.call("ZADD", leases, "XX", now_ms + lease_ms, id)
  else
    lost[#lost + 1] = id
  end
end
return lost
