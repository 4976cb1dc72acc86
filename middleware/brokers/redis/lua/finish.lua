-- finish.lua — apply the outcome of one attempt, once.
-- ARGV[1] id            text
-- ARGV[2] token         text     of the lease under which it ran
-- ARGV[3] outcome       text     done | retry | snooze | yield (a snooze behind the others of its lane) | dead
-- ARGV[4] delay_ms      integer  retry and snooze: wait; 0 = at once, at the head
-- ARGV[5] body          bytes    the message as it is now (retry, snooze, dead)
-- ARGV[6] reason        text     dead, retry, snooze: why
-- ARGV[7] evidence      JSON     dead: what an operator needs to see
-- ARGV[8] remember_ms   integer  how long a repeated call or enqueue is recognised
-- Returns  1 applied (now, or by an earlier call whose reply was lost) · 0 stale: the lease is another's; nothing changed
local id, token, outcome, delay_ms, body = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), ARGV[5]
local reason, evidence, remember_ms = ARGV[6], ARGV[7], tonumber(ARGV[8])
if redis.call("HGET", tokens, id) ~= token then
  if redis.call("ZSCORE", finished, token) then
    return 1
  end
  count("stale_finishes")
  return 0
end
local facts = facts_of(id)
drop_lease(id)
redis.call("ZADD", finished, now_ms + remember_ms, token)
if outcome == "retry" or outcome == "snooze" or outcome == "yield" then
  redis.call("HSET", messages, id, body)
  redis.call("HDEL", deliveries, id)
  count(outcome == "retry" and "retried" or "snoozed")
  if outcome == "yield" then
    leave_lane(id, facts.lane)
  end
  if delay_ms > 0 then
    redis.call("ZADD", delayed, now_ms + delay_ms, id)
    if redis.call("ZRANGE", delayed, 0, 0)[1] == id then
      ring()
    end
  else
    admit(id, facts.lane, outcome ~= "yield")
  end
  return 1
end
redis.call("ZADD", finished, now_ms + remember_ms, id)
if outcome == "dead" then
  -- An error now would leave it without lease and letter, its lane held for ever: better a death without its story.
  local is_read, story = pcall(cjson.decode, evidence)
  bury(id, facts, reason, is_read and story or {}, body)
else
  count("done")
  free_unique(id, facts)
  remove(id, facts)
end
return 1
