-- base.lua — the time, what is counted, and the bell.
-- Needs  counters wake
-- Gives  now_ms count ring
-- Time   always Redis' own clock, milliseconds
local time = redis.call("TIME")
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)

local function count(what, by)
  return redis.call("HINCRBY", counters, what, by or 1)
end

-- One token at most: a full wake list means somebody is already on the way.
local function ring()
  if redis.call("LLEN", wake) == 0 then
    redis.call("RPUSH", wake, "1")
  end
end
