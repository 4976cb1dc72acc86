-- enqueue.lua — put one message in: ready, waiting in its lane, or delayed.
-- ARGV[1] id            text     unique per enqueue
-- ARGV[2] body          bytes    the message
-- ARGV[3] delay_ms      integer  0 = now
-- ARGV[4] lane          text     '' = none
-- ARGV[5] group         text     '' = none
-- ARGV[6] unique_key    text     '' = none
-- Returns  {'new', id} · {'known', id} this id is queued or was finished a moment ago · {'duplicate', id, body} of the
--          message that has the unique key: live, or dead and not announced yet
-- Safe to repeat: a client that lost the reply calls again with the same id and nothing happens twice.
local id, body, delay_ms, lane, group, unique_key = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4], ARGV[5], ARGV[6]
if redis.call("HEXISTS", messages, id) == 1 then
  return { "known", id }
end
local forget_at_ms = redis.call("ZSCORE", finished, id)
if forget_at_ms and tonumber(forget_at_ms) > now_ms then
  return { "known", id }
end
if unique_key ~= "" then
  local live_id = redis.call("HGET", unique, unique_key)
  local live_body = live_id and redis.call("HGET", messages, live_id)
  if live_id and not live_body and redis.call("ZSCORE", unannounced, live_id) then
    live_body = redis.call("HGET", bodies, live_id)
  end
  if live_body then
    count("duplicates")
    return { "duplicate", live_id, live_body }
  end
  redis.call("HSET", unique, unique_key, id)
end
local facts = { enqueued_at_ms = now_ms }
if lane ~= "" then facts.lane = lane end
if group ~= "" then facts.group = group end
if unique_key ~= "" then facts.unique_key = unique_key end
redis.call("HSET", messages, id, body)
redis.call("HSET", about, id, cjson.encode(facts))
count("enqueued")
if delay_ms > 0 then
  redis.call("ZADD", delayed, now_ms + delay_ms, id)
  -- A nearer eta than any before must end a block that was timed for a later one.
  if redis.call("ZRANGE", delayed, 0, 0)[1] == id then
    ring()
  end
else
  admit(id, facts.lane, false)
end
return { "new", id }
