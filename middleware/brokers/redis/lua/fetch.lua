-- fetch.lua — hand out messages that may run now, each under a lease.
-- Parts   base due handing
-- Late    facts unique slots groups lanes promote running
-- Needs   ready control
-- ARGV[1] limit      integer  most messages handed out
-- ARGV[2] lease_ms   integer  until anybody may take them back
-- ARGV[3] owner      text     who asks; the head of the fencing token
-- Returns  {next_due_in_ms | -1, ids still ready, id, token, deliveries, body, facts, id, token, …}
-- Not repeated when the reply is lost: disown.lua puts back what it handed out; should the caller die, the reaper does.
local due_in, rings_for_us = next_due_in(), false
if due_in == 0 then
  rings_for_us = redis.call("LLEN", wake) == 0
  late().promote(128)
  due_in = next_due_in()
end
if redis.call("HEXISTS", control, "paused_at_ms") == 1 then
  return { -1, 0 }
end
local handed = hand_out(tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3], late)
local left = redis.call("LLEN", ready)
if left > 0 then
  ring()
elseif rings_for_us then
  -- What was promoted here is handed out here: nobody else need wake for it.
  redis.call("LPOP", wake)
end
return { due_in, left, unpack(handed) }
