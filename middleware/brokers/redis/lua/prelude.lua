-- prelude.lua — names, time and the moves that several scripts share; put in front of every script.
-- KEYS      17 per queue, in the order of middleware/brokers/redis/keys.py; bind(n) takes the n-th queue of the call
-- Time      always Redis' own clock, milliseconds
local ready, messages, about, delayed, leases, tokens, deliveries, lanes, lane_waiting, unique, finished, dead, letters,
  bodies, unannounced, counters, wake
local WIDTH = 17

local function bind(index)
  local first = index * WIDTH
  ready, messages, about, delayed, leases, tokens = unpack(KEYS, first + 1, first + 6)
  deliveries, lanes, lane_waiting, unique, finished = unpack(KEYS, first + 7, first + 11)
  dead, letters, bodies, unannounced, counters, wake = unpack(KEYS, first + 12, first + WIDTH)
end
bind(0)

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

local function facts_of(id)
  local text = redis.call("HGET", about, id)
  if text then
    return cjson.decode(text)
  end
  return {}
end

local function holder_of(lane)
  local held = redis.call("HGET", lanes, lane)
  if held then
    return string.match(held, "^%d+ (.*)$")
  end
  return nil
end

local function hold(lane, id)
  redis.call("HSET", lanes, lane, string.format("%d %s", now_ms, id))
end

local leave_lane

-- Let a message run, or wait for its lane. at_head: it already had its place (retry, reclaim, release).
local function admit(id, lane, at_head)
  if lane then
    local holder = holder_of(lane)
    if holder and holder ~= id then
      redis.call("ZADD", lane_waiting, 0, string.format("%s\0%016d\0%s", lane, count("sequence"), id))
      -- A holder without a body (evicted, deleted by hand) never leaves by itself: all who wait would wait for ever.
      if redis.call("HEXISTS", messages, holder) == 0 then
        leave_lane(holder, lane)
      end
      return
    end
    if not holder then
      hold(lane, id)
    end
  end
  redis.call(at_head and "LPUSH" or "RPUSH", ready, id)
  ring()
end

-- Give up a lane and admit who comes next; ids without a body were cancelled and are passed over. A lane that nobody holds
-- was lost: who waits there has nobody else to be admitted by.
leave_lane = function(id, lane)
  if not lane or (holder_of(lane) or id) ~= id then
    return
  end
  while true do
    local next_member = redis.call("ZRANGEBYLEX", lane_waiting, "[" .. lane .. "\0", "[" .. lane .. "\0\255", "LIMIT", 0, 1)[1]
    if not next_member then
      redis.call("HDEL", lanes, lane)
      return
    end
    redis.call("ZREM", lane_waiting, next_member)
    local next_id = string.match(next_member, "^%Z*%z%d+%z(.*)$")
    if redis.call("HEXISTS", messages, next_id) == 1 then
      hold(lane, next_id)
      redis.call("RPUSH", ready, next_id)
      ring()
      return
    end
  end
end

local function drop_lease(id)
  redis.call("ZREM", leases, id)
  redis.call("HDEL", tokens, id)
end

local function free_unique(id, facts)
  if facts.unique_key and redis.call("HGET", unique, facts.unique_key) == id then
    redis.call("HDEL", unique, facts.unique_key)
  end
end

-- Take a message out of the queue for good: its body, facts and lane.
local function remove(id, facts)
  redis.call("HDEL", messages, id)
  redis.call("HDEL", about, id)
  redis.call("HDEL", deliveries, id)
  leave_lane(id, facts.lane)
end

-- What a dead letter was about; its unique key is free from the moment it is announced, redriven or forgotten.
local function forget_unique_of_letter(id)
  local text = redis.call("HGET", letters, id)
  if text then
    free_unique(id, cjson.decode(text).about or {})
  end
end

-- Move a message to the dead letters. It enters unannounced: whoever dies here may have run no actor at all. Until it is
-- announced its unique key is not free: nobody knows yet that it ended, and a second send would start its life anew.
local function bury(id, facts, reason, evidence, body)
  local letter = { reason = reason, evidence = evidence, about = facts, died_at_ms = now_ms }
  letter.deliveries = tonumber(redis.call("HGET", deliveries, id) or 0)
  -- Two may die in one millisecond; what is redriven goes back in this order.
  letter.sequence = count("sequence")
  redis.call("ZADD", dead, now_ms, id)
  redis.call("HSET", letters, id, cjson.encode(letter))
  redis.call("HSET", bodies, id, body)
  redis.call("ZADD", unannounced, now_ms, id)
  count("dead")
  remove(id, facts)
end

-- Bounded, so that no call grows with the backlog; what is left goes with the next call.
local function promote(limit)
  local due = redis.call("ZRANGEBYSCORE", delayed, "-inf", now_ms, "LIMIT", 0, limit)
  for _, id in ipairs(due) do
    redis.call("ZREM", delayed, id)
    if redis.call("HEXISTS", messages, id) == 1 then
      local lane = facts_of(id).lane
      admit(id, lane, lane and holder_of(lane) == id)
    else
      remove(id, facts_of(id))
    end
  end
  return #due
end

-- Milliseconds until the next delayed message is due; -1 when none is waiting.
local function next_due_in()
  local first = redis.call("ZRANGE", delayed, 0, 0, "WITHSCORES")
  if first[2] then
    return math.max(0, tonumber(first[2]) - now_ms)
  end
  return -1
end
