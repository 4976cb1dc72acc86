-- dead.lua — letters of messages that were given up, found by reason, fingerprint, group and lane.
-- Needs  dead letters bodies unannounced dead_index fingerprints deliveries
-- Gives  letter_of facts_of_letter remove_letter drop_letter trim_letters bury
-- dead_index holds 'kind NUL value NUL sequence NUL id' per letter; kinds: f fingerprint, g group, l lane, r reason.

local function each_index_entry(id, letter, visit)
  local facts = letter.about or {}
  local values = { f = letter.fingerprint, g = facts.group, l = facts.lane, r = letter.reason }
  for kind, value in pairs(values) do
    visit(table.concat({ kind, value, string.format("%010x", letter.sequence or 0), id }, "\0"))
  end
end

local function letter_of(id)
  local text = redis.call("HGET", letters, id)
  return text and cjson.decode(text)
end

local function facts_of_letter(letter)
  local facts = letter.about or {}
  return { lane = facts.lane, group = facts.group, unique_key = facts.unique_key, flags = facts.flags or "" }
end

-- Take a letter away. Its unique key and its lane, if it holds them, are given up by whoever calls.
local function remove_letter(id, letter)
  redis.call("ZREM", dead, id)
  redis.call("ZREM", unannounced, id)
  redis.call("HDEL", letters, id)
  redis.call("HDEL", bodies, id)
  each_index_entry(id, letter, function(member)
    redis.call("ZREM", dead_index, member)
  end)
  if letter.fingerprint and redis.call("HINCRBY", fingerprints, letter.fingerprint, -1) <= 0 then
    redis.call("HDEL", fingerprints, letter.fingerprint)
  end
end

local function drop_letter(id)
  local letter = letter_of(id)
  if not letter then
    redis.call("ZREM", dead, id)
    return false
  end
  local facts = facts_of_letter(letter)
  remove_letter(id, letter)
  free_unique(id, facts)
  if has_flag(facts, "d") then
    leave_lane(id, facts.lane)
  end
  return true
end

-- Letters that are too old or too many go, oldest first.
local function trim_letters(max_age_ms, max_count, limit)
  local dropped = 0
  for _, id in ipairs(redis.call("ZRANGEBYSCORE", dead, "-inf", now_ms - max_age_ms, "LIMIT", 0, limit)) do
    drop_letter(id)
    dropped = dropped + 1
  end
  local excess = math.min(redis.call("ZCARD", dead) - max_count, limit)
  if excess > 0 then
    for _, id in ipairs(redis.call("ZRANGE", dead, 0, excess - 1)) do
      drop_letter(id)
      dropped = dropped + 1
    end
  end
  return dropped
end

-- Move a message to the dead letters. It enters unannounced: whoever dies here may have run no actor at all. Until it is
-- announced its unique key is not free: nobody knows yet that it ended, and a second send would start its life anew.
local function bury(id, facts, death)
  local letter = {
    reason = death.reason, fingerprint = death.fingerprint, evidence = death.evidence, died_at_ms = now_ms,
    about = { lane = facts.lane, group = facts.group, unique_key = facts.unique_key, flags = facts.flags },
    deliveries = death.deliveries, worker = death.worker,
    -- Two may die in one millisecond; what is redriven goes back in this order.
    sequence = redis.call("HINCRBY", counters, "sequence", 1),
  }
  redis.call("ZADD", dead, now_ms, id)
  redis.call("HSET", letters, id, cjson.encode(letter))
  redis.call("HSET", bodies, id, death.body)
  redis.call("ZADD", unannounced, now_ms, id)
  each_index_entry(id, letter, function(member)
    redis.call("ZADD", dead_index, 0, member)
  end)
  redis.call("HINCRBY", fingerprints, letter.fingerprint, 1)
  count("dead")
  forget(id)
  if facts.lane and has_flag(facts, "d") then
    hold(facts.lane, id, "d")
  else
    leave_lane(id, facts.lane)
  end
end
