-- enqueue.lua — put messages in: ready, waiting in their lane or group, or delayed.
-- Parts   base
-- Late    facts unique slots groups lanes
-- Needs   ready messages delayed finished finished_before
-- KEYS    of one queue; the last one is ticks: 'actor@slot_ms' → forget_at_ms
-- ARGV[1] repeated   1 = a call with these ids was made and its reply lost
-- ARGV[2…] seven per message:
--   id             text     unique per enqueue
--   body           bytes    the message
--   delay_ms       integer  0 = now
--   facts          text     where it belongs (parts/facts.lua); '' = nowhere
--   unique_for_ms  integer  its unique key is taken for so long, also when it is over; 0 = while it lives
--   tick           text     slot that this message is for, sent once whoever sends it; '' = none
--   keep_ms        integer  how long a slot is remembered
-- Returns  per message {'new', id} · {'known', id} this id or slot was sent before · {'duplicate', id, body} of the message that
--          has the unique key: live, or dead and not announced yet; or over and cooling down, then without a body
-- Safe to repeat: a client that lost the reply calls again with the same ids and nothing happens twice.
local ticks, repeated = KEYS[#KEYS], ARGV[1] == "1"
local is_ready = false

-- A fresh id that is sent for the first time cannot have ended.
local function has_ended(id, is_tick)
  return (repeated or is_tick)
    and (redis.call("SISMEMBER", finished, id) == 1 or redis.call("SISMEMBER", finished_before, id) == 1)
end

local function mark_slot(slot, keep_ms)
  redis.call("ZREMRANGEBYSCORE", ticks, "-inf", now_ms)
  return redis.call("ZADD", ticks, "NX", now_ms + keep_ms, slot) == 1
end

local function enqueue(id, body, delay_ms, text, unique_for_ms, slot, keep_ms)
  if has_ended(id, slot ~= "") or (slot ~= "" and not mark_slot(slot, keep_ms)) then
    return { "known", id }
  end
  if redis.call("HSETNX", messages, id, body) == 0 then
    return { "known", id }
  end
  local facts = text ~= "" and late().read_facts(text)
  if facts and facts.unique_key then
    local live_id, live_body = late().holder_of_key(facts.unique_key)
    if live_id then
      redis.call("HDEL", messages, id)
      count("duplicates")
      return { "duplicate", live_id, live_body }
    end
    redis.call("HSET", unique, facts.unique_key, id)
    if unique_for_ms > 0 then
      redis.call("ZADD", cooling, now_ms + unique_for_ms, facts.unique_key)
    end
  end
  if delay_ms > 0 then
    if facts then
      late().keep_facts(id, facts)
    end
    redis.call("ZADD", delayed, now_ms + delay_ms, id)
    -- A nearer eta than any before must end a block that was timed for a later one.
    if redis.call("ZRANGE", delayed, 0, 0)[1] == id then
      ring()
    end
  elseif facts then
    late().admit(id, facts, false, true)
  else
    redis.call("RPUSH", ready, id)
    is_ready = true
  end
  return { "new", id }
end

local report, added = {}, 0
for index = 2, #ARGV, 7 do
  local id, body, delay_ms, text, unique_for_ms, slot, keep_ms = unpack(ARGV, index, index + 6)
  local state = enqueue(id, body, tonumber(delay_ms), text, tonumber(unique_for_ms), slot, tonumber(keep_ms))
  report[#report + 1] = state
  if state[1] == "new" then
    added = added + 1
  end
end
if is_ready then
  ring()
end
if added > 0 then
  count("enqueued", added)
end
return report
