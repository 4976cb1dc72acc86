-- restore_gates.lua — set gates and a pause as a backup has them, where the queue is empty and has none.
-- Needs   messages gates control
-- KEYS    of one queue; the last one is restoring: token of who restores
-- ARGV[1] token         text
-- ARGV[2] hold_ms       integer  nobody else restores for so long
-- ARGV[3] paused_at_ms  integer  0 = the queue was not paused
-- ARGV[4…] group, gate  pairs
-- Returns  1 they are set · 0 the queue is in use and keeps its own · -1 somebody else restores
-- A live queue may have been resumed, or a gate opened, since the backup.
local restoring = KEYS[#KEYS]
if redis.call("GET", restoring) ~= ARGV[1] then
  return -1
end
if redis.call("EXISTS", messages, gates) > 0 then
  return 0
end
if #ARGV > 3 then
  redis.call("HSET", gates, unpack(ARGV, 4))
end
if ARGV[3] ~= "0" then
  redis.call("HSETNX", control, "paused_at_ms", ARGV[3])
end
-- Last: Redis refuses what fills it at the first write of a script only, and this one fills nothing.
redis.call("PEXPIRE", restoring, ARGV[2])
return 1
