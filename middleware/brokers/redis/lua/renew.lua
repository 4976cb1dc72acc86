-- renew.lua — prolong leases.
-- Parts   base leases
-- ARGV[1] lease_ms      integer
-- ARGV[2…] id, token    pairs
-- Returns  ids whose lease is another's by now: what they do next must not count
local lease_ms = tonumber(ARGV[1])
local lost = {}
for index = 2, #ARGV, 2 do
  local id, token = ARGV[index], ARGV[index + 1]
  local lease = lease_of(id, token)
  if redis.call("ZSCORE", leases, lease) then
    redis.call("ZADD", leases, now_ms + lease_ms, lease)
  else
    lost[#lost + 1] = id
  end
end
return lost
