-- promote.lua — what time brings: delayed messages that are due, groups whose gate opens.
-- Needs  delayed group_due messages
-- Gives  promote

-- Bounded, so that no call grows with the backlog; what is left goes with the next call.
local function promote(limit)
  for _, id in ipairs(redis.call("ZRANGEBYSCORE", delayed, "-inf", now_ms, "LIMIT", 0, limit)) do
    redis.call("ZREM", delayed, id)
    local facts = facts_of(id)
    if redis.call("HEXISTS", messages, id) == 1 then
      admit(id, facts, facts.lane ~= nil and holder_of(facts.lane) == id)
    else
      forget(id)
      free_unique(id, facts)
      leave_lane(id, facts.lane)
    end
  end
  for _, group in ipairs(redis.call("ZRANGEBYSCORE", group_due, "-inf", now_ms, "LIMIT", 0, 16)) do
    redis.call("ZREM", group_due, group)
    let_in(group)
  end
end
