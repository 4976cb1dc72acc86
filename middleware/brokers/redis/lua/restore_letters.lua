-- restore_letters.lua — put dead letters of a backup in, unless they are there, or their messages live or ended since.
-- Parts   base facts unique slots groups lanes dead
-- Needs   messages finished finished_before
-- KEYS    of one queue; the last one is restoring: token of who restores
-- ARGV[1] token    text
-- ARGV[2] hold_ms  integer  nobody else restores for so long
-- ARGV[3…] five per letter:
--   id          text
--   died_at_ms  integer
--   letter      JSON
--   body        bytes
--   told        1 = somebody was told of it · 0 = it is announced
-- Returns  per letter 'new' | 'known' | 'unreadable'; nothing at all when somebody else restores
-- Safe to repeat.
local restoring = KEYS[#KEYS]
if redis.call("GET", restoring) ~= ARGV[1] then
  return {}
end
local function is_known(id)
  return redis.call("HEXISTS", letters, id) == 1 or redis.call("HEXISTS", messages, id) == 1
    or redis.call("SISMEMBER", finished, id) == 1 or redis.call("SISMEMBER", finished_before, id) == 1
end

-- Who dies next is newer than all that died before, and who waits next comes behind.
local function go_beyond(sequence)
  if sequence > tonumber(redis.call("HGET", counters, "sequence") or 0) then
    redis.call("HSET", counters, "sequence", string.format("%.0f", sequence))
  end
end

local function restore(id, died_at_ms, text, body, told)
  if is_known(id) then
    return "known"
  end
  local is_read, letter = pcall(cjson.decode, text)
  if not is_read or type(letter) ~= "table" or not letter.fingerprint or not letter.reason then
    return "unreadable"
  end
  redis.call("ZADD", dead, died_at_ms, id)
  redis.call("HSET", letters, id, text)
  redis.call("HSET", bodies, id, body)
  each_index_entry(id, letter, function(member)
    redis.call("ZADD", dead_index, 0, member)
  end)
  redis.call("HINCRBY", fingerprints, letter.fingerprint, 1)
  go_beyond(tonumber(letter.sequence) or 0)
  local facts = facts_of_letter(letter)
  if told == "0" then
    redis.call("ZADD", unannounced, now_ms, id)
    if facts.unique_key and not has_flag(facts, "s") and not holder_of_key(facts.unique_key) then
      redis.call("HSET", unique, facts.unique_key, id)
    end
  end
  if facts.lane and has_flag(facts, "d") and not holder_of(facts.lane) then
    hold(facts.lane, id, "d")
  end
  return "new"
end

local report = {}
for index = 3, #ARGV, 5 do
  report[#report + 1] = restore(unpack(ARGV, index, index + 4))
end
-- Last: Redis refuses what fills it at the first write of a script only, and this one fills nothing.
redis.call("PEXPIRE", restoring, ARGV[2])
return report
