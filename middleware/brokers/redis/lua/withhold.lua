-- withhold.lua — keep a dead letter from being announced while somebody prepares to redrive it.
-- Parts   base
-- Needs   unannounced
-- ARGV[1] id       text
-- ARGV[2] hold_ms  integer  until it may be announced after all, should the caller die
-- Returns  1 nobody tells of it from now on · 0 somebody is telling of it right now; ask again
local id, hold_ms = ARGV[1], tonumber(ARGV[2])
local announce_at_ms = redis.call("ZSCORE", unannounced, id)
if announce_at_ms and tonumber(announce_at_ms) > now_ms then
  return 0
end
redis.call("ZADD", unannounced, "XX", now_ms + hold_ms, id)
return 1
