-- fetch.lua — hand out messages that may run now, each under a lease.
-- Parts   base due
-- Late    facts unique slots groups lanes promote running
-- Needs   ready messages about deliveries slots leases control
-- ARGV[1] limit      integer  most messages handed out
-- ARGV[2] lease_ms   integer  until anybody may take them back
-- ARGV[3] owner      text     who asks; the head of the fencing token
-- Returns  {next_due_in_ms | -1, ids still ready, id, token, deliveries, body, facts, id, token, …}
-- Not repeated when the reply is lost: disown.lua puts back what it handed out; should the caller die, the reaper does.
local limit, lease_ms, owner = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3]

local due_in = next_due_in()
if due_in == 0 then
  late().promote(128)
  due_in = next_due_in()
end
if redis.call("HEXISTS", control, "paused_at_ms") == 1 then
  return { -1, 0 }
end

local NONE = {}
local handed, leased, looked_at = {}, {}, 0
-- No owner fetches twice in a microsecond.
local token = string.format("%s.%s%06d", owner, time[1], time[2])

local function hand_out(id, body, text, crashes)
  leased[#leased + 1] = now_ms + lease_ms
  leased[#leased + 1] = id .. "\0" .. token
  local at = #handed
  handed[at + 1], handed[at + 2], handed[at + 3] = id, token, (tonumber(crashes) or 0) + 1
  handed[at + 4], handed[at + 5] = body, text or ""
  limit = limit - 1
end

while limit > 0 and looked_at < 512 do
  local ids = redis.call("LPOP", ready, limit)
  if not ids or #ids == 0 then
    break
  end
  looked_at = looked_at + #ids
  local bodies = redis.call("HMGET", messages, unpack(ids))
  local texts, crashes, groups_of = NONE, NONE, NONE
  -- Most queues have no lane, no group, no crash: then one look is all it costs.
  if redis.call("EXISTS", about, deliveries, slots) > 0 then
    texts, crashes = redis.call("HMGET", about, unpack(ids)), redis.call("HMGET", deliveries, unpack(ids))
    groups_of = redis.call("HMGET", slots, unpack(ids))
  end
  for index, id in ipairs(ids) do
    local text = texts[index]
    if not bodies[index] then
      late().pass_over(id, text)
    elseif not groups_of[index] or late().may_run(id, groups_of[index], text) then
      if text then
        late().start(id, text)
      end
      hand_out(id, bodies[index], text, crashes[index])
    end
  end
end
if #leased > 0 then
  redis.call("ZADD", leases, unpack(leased))
end
local left = redis.call("LLEN", ready)
if left > 0 then
  ring()
end
return { due_in, left, unpack(handed) }
