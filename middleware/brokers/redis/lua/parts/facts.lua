-- facts.lua — where a message belongs: lane, group, unique key, flags.
-- Needs  about messages deliveries control
-- Gives  NOWHERE read_facts write_facts facts_of has_flag keep_facts forget passed_over
-- Kept as 'lane NUL group NUL unique_key NUL flags': with the message's place while it waits in a lane or a group (without
-- the name that the place begins with), else in about. A message that belongs nowhere has none and costs nothing.
-- Flags  c its unique key cools down after it · d a dead letter of it holds its lane · s its unique key is free at its start
local NOWHERE = { flags = "" }

local function read_facts(text)
  if not text or text == "" then
    return NOWHERE
  end
  local lane, group, unique_key, flags = string.match(text, "^(%Z*)%z(%Z*)%z(%Z*)%z(%Z*)$")
  return {
    lane = lane ~= "" and lane or nil,
    group = group ~= "" and group or nil,
    unique_key = unique_key ~= "" and unique_key or nil,
    flags = flags or "",
  }
end

-- beside: the name that stands with a place already.
local function write_facts(facts, beside)
  local lane, group = facts.lane or "", facts.group or ""
  return table.concat({
    beside == "lane" and "" or lane, beside == "group" and "" or group, facts.unique_key or "", facts.flags,
  }, "\0")
end

local function facts_of(id)
  return read_facts(redis.call("HGET", about, id))
end

local function has_flag(facts, flag)
  return string.find(facts.flags, flag, 1, true) ~= nil
end

local function keep_facts(id, facts)
  if facts ~= NOWHERE then
    redis.call("HSET", about, id, write_facts(facts))
  end
end

-- Its body, facts and crashes; its lane, slot and unique key are given up by whoever calls.
local function forget(id)
  redis.call("HDEL", messages, id)
  redis.call("HDEL", about, id)
  redis.call("HDEL", deliveries, id)
end

-- A cancelled message leaves its id where it stood; stats subtract it until the id is passed over. Where one without facts
-- stands cancel.lua can only guess, so the other count may have it.
local function passed_over(where)
  if redis.call("HEXISTS", control, where) == 0 then
    where = where == "void_ready" and "void_waiting" or "void_ready"
  end
  if redis.call("HINCRBY", control, where, -1) <= 0 then
    redis.call("HDEL", control, where)
  end
end
