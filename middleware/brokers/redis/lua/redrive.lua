-- redrive.lua — send a dead letter again, at the end of its lane, with a fresh budget of attempts.
-- ARGV[1] id     text
-- ARGV[2] body   bytes   the message with its attempts reset
-- Returns  'redriven' · 'missing' no such dead letter · 'duplicate' a live message has its unique key; the letter stays
local id, body = ARGV[1], ARGV[2]
local text = redis.call("HGET", letters, id)
if not text then
  return "missing"
end
local facts = cjson.decode(text).about or {}
if facts.unique_key then
  local live_id = redis.call("HGET", unique, facts.unique_key)
  if live_id and redis.call("HEXISTS", messages, live_id) == 1 then
    return "duplicate"
  end
  redis.call("HSET", unique, facts.unique_key, id)
end
redis.call("ZREM", dead, id)
redis.call("ZREM", unannounced, id)
redis.call("ZREM", finished, id)
redis.call("HDEL", letters, id)
redis.call("HDEL", bodies, id)
facts.enqueued_at_ms = now_ms
redis.call("HSET", messages, id, body)
redis.call("HSET", about, id, cjson.encode(facts))
count("redriven")
admit(id, facts.lane, false)
return "redriven"
