-- handing.lua — hand out messages that may run now, each under a lease.
-- Needs  ready messages about deliveries slots leases
-- Gives  hand_out
-- `late` is the script's own: what only those need that belong somewhere, or are gone.
local NONE = {}

-- id, token, deliveries, body, facts of each, one after the other.
local function hand_out(limit, lease_ms, owner, late)
  local handed, leased, looked_at = {}, {}, 0
  -- No owner fetches twice in a microsecond.
  local token = string.format("%s.%s%06d", owner, time[1], time[2])

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
        leased[#leased + 1] = now_ms + lease_ms
        leased[#leased + 1] = id .. "\0" .. token
        local at = #handed
        handed[at + 1], handed[at + 2], handed[at + 3] = id, token, (tonumber(crashes[index]) or 0) + 1
        handed[at + 4], handed[at + 5] = bodies[index], text or ""
        limit = limit - 1
      end
    end
  end
  if #leased > 0 then
    redis.call("ZADD", leases, unpack(leased))
  end
  return handed
end
