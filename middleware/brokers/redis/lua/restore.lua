-- restore.lua — put messages of a backup in, each where it belongs, unless it is there, ended or died, or its unique key is taken.
-- Parts   base facts unique slots groups lanes
-- Needs   ready messages delayed deliveries finished finished_before dead
-- KEYS    of one queue; the last one is restoring: token of who restores
-- ARGV[1] token    text
-- ARGV[2] hold_ms  integer  nobody else restores for so long
-- ARGV[3…] six per message, those of a lane in its order:
--   id       text
--   body     bytes
--   facts    text     where it belongs (parts/facts.lua); '' = nowhere
--   eta_ms   integer  when it is due; 0 = now
--   holds    1 = it held its lane
--   crashes  integer  starts without an outcome
-- Returns  per message 'new' | 'known' | 'duplicate'; nothing at all when somebody else restores
-- Safe to repeat: what a first call put in is known to the second.
local restoring = KEYS[#KEYS]
if redis.call("GET", restoring) ~= ARGV[1] then
  return {}
end
local ids = {}
for index = 3, #ARGV, 6 do
  ids[#ids + 1] = ARGV[index]
end
local ended, ended_before, died = {}, {}, {}
if redis.call("EXISTS", finished, finished_before, dead) > 0 then
  ended, ended_before = redis.call("SMISMEMBER", finished, unpack(ids)), redis.call("SMISMEMBER", finished_before, unpack(ids))
  died = redis.call("ZMSCORE", dead, unpack(ids))
end

local function is_taken(key, id)
  if redis.call("HSETNX", unique, key, id) == 1 then
    return false
  end
  local holder = holder_of_key(key)
  if holder and holder ~= id then
    return true
  end
  redis.call("HSET", unique, key, id)
  return false
end

-- Lanes whose holders live: nobody ends while this runs.
local held = {}

-- 'held', 'free', or 'void' (its holder is gone).
local function state_of(lane)
  if held[lane] then
    return "held"
  end
  local holder, is_dead = holder_of(lane)
  if not holder then
    return "free"
  end
  held[lane] = is_dead or redis.call("HEXISTS", messages, holder) == 1
  return held[lane] and "held" or "void"
end

local function wait_in_lane(id, lane, text)
  local sequence = string.format("%010x", redis.call("HINCRBY", counters, "sequence", 1))
  redis.call("ZADD", lane_waiting, 0, lane .. "\0" .. sequence .. "\0" .. id .. "\0" .. string.sub(text, #lane + 1))
end

local function delay(id, facts, eta_ms, holds)
  keep_facts(id, facts)
  if holds and facts.lane and not holder_of(facts.lane) then
    hold(facts.lane, id)
  end
  redis.call("ZADD", delayed, eta_ms, id)
  if redis.call("ZRANGE", delayed, 0, 0)[1] == id then
    ring()
  end
end

-- As admit does it, at a third of the cost.
local function place(id, facts, text)
  local lane = facts.lane
  local state = lane and state_of(lane)
  if state == "held" then
    wait_in_lane(id, lane, text)
  elseif state == "free" then
    hold(lane, id)
    held[lane] = true
    admit_to_group(id, facts, false)
  else
    admit(id, facts, false)
  end
end

local function restore(number, id, body, text, eta_ms, holds, crashes)
  if ended[number] == 1 or ended_before[number] == 1 or died[number] or redis.call("HSETNX", messages, id, body) == 0 then
    return "known"
  end
  local facts = read_facts(text)
  if facts.unique_key and is_taken(facts.unique_key, id) then
    redis.call("HDEL", messages, id)
    return "duplicate"
  end
  if crashes > 0 then
    redis.call("HSET", deliveries, id, crashes)
  end
  if eta_ms > now_ms then
    delay(id, facts, eta_ms, holds)
  else
    place(id, facts, text)
  end
  return "new"
end

local report, restored = {}, 0
for index = 3, #ARGV, 6 do
  local id, body, text, eta_ms, holds, crashes = unpack(ARGV, index, index + 5)
  local state = restore(#report + 1, id, body, text, tonumber(eta_ms), holds == "1", tonumber(crashes))
  report[#report + 1] = state
  if state == "new" then
    restored = restored + 1
  end
end
if restored > 0 then
  count("restored", restored)
end
-- Last: Redis refuses what fills it at the first write of a script only, and this one fills nothing.
redis.call("PEXPIRE", restoring, ARGV[2])
return report
