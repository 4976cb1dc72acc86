-- copy_places.lua — read where messages belong and when they are due, at one moment. Changes nothing.
-- Parts   base facts copied
-- Needs   messages about delayed deliveries lane_waiting group_waiting
-- ARGV[1] whole  1 = with their bodies · 0 = the caller has them
-- ARGV[2…] id
-- Returns  1 somebody waits for a lane or a group | 0, per id: body ('' = not asked for) | nil it is gone, facts | nil none stand
--          here, eta_ms | '', starts without an outcome | ''
-- Facts of who waits stand with its place, which copy_lanes.lua and copy_groups.lua read.
local whole, ids = ARGV[1] == "1", { unpack(ARGV, 2) }
local somebody_waits = redis.call("EXISTS", lane_waiting, group_waiting) > 0
local bodies, etas, crashes = {}, {}, {}
local texts = redis.call("HMGET", about, unpack(ids))
if whole then
  bodies = redis.call("HMGET", messages, unpack(ids))
end
if redis.call("EXISTS", delayed) == 1 then
  etas = redis.call("ZMSCORE", delayed, unpack(ids))
end
if redis.call("EXISTS", deliveries) == 1 then
  crashes = redis.call("HMGET", deliveries, unpack(ids))
end
local report = { somebody_waits and 1 or 0 }
for index, id in ipairs(ids) do
  local body = bodies[index]
  -- Who has facts here is there.
  if not whole and (texts[index] or redis.call("HEXISTS", messages, id) == 1) then
    body = ""
  end
  report[#report + 1] = body or false
  report[#report + 1] = texts[index] and as_owned(id, texts[index])
  report[#report + 1] = etas[index] or ""
  report[#report + 1] = crashes[index] or ""
end
return report
