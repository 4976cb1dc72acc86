-- unique.lua — at most one message per unique key.
-- Needs  unique cooling messages unannounced bodies
-- Gives  holder_of_key free_unique cool_down

-- Id and body of whoever has the key: a live message, one that died and nobody knows of yet, or (body '') one that is over
-- and cools down. Nil when the key is free.
local function holder_of_key(key)
  local id = redis.call("HGET", unique, key)
  if not id then
    return nil
  end
  local body = redis.call("HGET", messages, id)
  if not body and redis.call("ZSCORE", unannounced, id) then
    -- A second send now would start the life of a message anew that has just ended.
    body = redis.call("HGET", bodies, id)
  end
  if not body then
    local until_ms = redis.call("ZSCORE", cooling, key)
    body = until_ms and tonumber(until_ms) > now_ms and ""
  end
  return body and id, body
end

local function free_unique(id, facts)
  local key = facts.unique_key
  if not key or redis.call("HGET", unique, key) ~= id then
    return
  end
  if has_flag(facts, "c") then
    local until_ms = redis.call("ZSCORE", cooling, key)
    if until_ms and tonumber(until_ms) > now_ms then
      return
    end
    redis.call("ZREM", cooling, key)
  end
  redis.call("HDEL", unique, key)
end

-- Keys whose time is over; one that a live message still has goes with that message.
local function cool_down(limit)
  for _, key in ipairs(redis.call("ZRANGEBYSCORE", cooling, "-inf", now_ms, "LIMIT", 0, limit)) do
    redis.call("ZREM", cooling, key)
    local id = redis.call("HGET", unique, key)
    if id and redis.call("HEXISTS", messages, id) == 0 and not redis.call("ZSCORE", unannounced, id) then
      redis.call("HDEL", unique, key)
    end
  end
end
