-- fetch.lua — hand out messages that may run now, each under a lease of its own.
-- ARGV[1] limit      integer  most messages handed out
-- ARGV[2] lease_ms   integer  until anybody may take them back
-- ARGV[3] owner      text     who asks; the head of the fencing token
-- Returns  {next_due_in_ms | -1, ids still ready, id, token, deliveries, body, id, token, …}
-- A lost reply is not repeated: disown.lua puts back what it handed out; should the caller die, the reaper does.
local limit, lease_ms, owner = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3]
promote(128)
local handed = {}
while limit > 0 do
  local id = redis.call("LPOP", ready)
  if not id then
    break
  end
  local body = redis.call("HGET", messages, id)
  if body then
    limit = limit - 1
    local token = owner .. "." .. count("token")
    redis.call("ZADD", leases, now_ms + lease_ms, id)
    redis.call("HSET", tokens, id, token)
    handed[#handed + 1] = id
    handed[#handed + 1] = token
    handed[#handed + 1] = redis.call("HINCRBY", deliveries, id, 1)
    handed[#handed + 1] = body
  else
    remove(id, facts_of(id))
  end
end
local left = redis.call("LLEN", ready)
if left > 0 then
  ring()
end
return { next_due_in(), left, unpack(handed) }
