-- lane.lua — what holds a lane, since when, and how many wait for it.
-- Parts   base facts unique slots groups lanes
-- Needs   letters
-- ARGV[1] lane  text
-- Returns  {} nobody is in it · {holder id, since_ms, is_dead 0|1, waiting}
local lane = ARGV[1]
local holder, is_dead = holder_of(lane)
if not holder then
  return {}
end
local since_ms = string.match(redis.call("HGET", lanes, lane), "^%d+")
return {
  holder, tonumber(since_ms), is_dead and 1 or 0,
  redis.call("ZLEXCOUNT", lane_waiting, "[" .. lane .. "\0", "(" .. lane .. "\1"),
}
