-- slots.lua — how many messages of each group are ready or running.
-- Needs  groups slots
-- Gives  load_of keep_load stop_running
-- groups holds '<admitted> <running>' per group, slots the group of every message that is among them.

-- Slots taken (ready or running) and, of these, running.
local function load_of(group)
  local text = redis.call("HGET", groups, group)
  if not text then
    return 0, 0
  end
  local admitted, running = string.match(text, "^(%S+) (%S+)$")
  return tonumber(admitted), tonumber(running)
end

local function keep_load(group, admitted, running)
  if admitted <= 0 and running <= 0 then
    redis.call("HDEL", groups, group)
  else
    redis.call("HSET", groups, group, string.format("%d %d", admitted, math.max(0, running)))
  end
end

-- A message that ran goes back among the ready ones with its slot.
local function stop_running(id)
  local group = redis.call("HGET", slots, id)
  if group then
    local admitted, running = load_of(group)
    keep_load(group, admitted, running - 1)
  end
end
