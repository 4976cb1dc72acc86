-- pause.lua — hand out nothing of a queue, or all of it again. What comes meanwhile keeps its place.
-- Parts   base
-- Needs   control ready delayed group_due
-- ARGV[1] paused   1 = stop · 0 = go on
-- Returns  1 when that changed something
if ARGV[1] == "1" then
  return redis.call("HSETNX", control, "paused_at_ms", string.format("%.0f", now_ms))
end
local changed = redis.call("HDEL", control, "paused_at_ms")
-- A fetch of a paused queue does not say when something is due: whoever waits for that has to ask again.
if redis.call("EXISTS", ready, delayed, group_due) > 0 then
  ring()
end
return changed
