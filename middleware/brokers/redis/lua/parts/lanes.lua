-- lanes.lua — messages of a lane run one at a time, in their order.
-- Needs  lanes lane_waiting delayed messages control
-- Gives  holder_of hold leave_lane admit
-- A lane has a holder, '<since_ms> <id>' ('<since_ms>d <id>': a dead letter), from when its message may run until that ends. Who
-- waits stands in lane_waiting, 'lane NUL sequence NUL id NUL facts'. A lane without messages is not there.

-- Id of the holder, and whether it is a dead letter.
local function holder_of(lane)
  local held = redis.call("HGET", lanes, lane)
  if not held then
    return nil, false
  end
  local mark, id = string.match(held, "^%d+(d?) (.*)$")
  return id, mark == "d"
end

local function hold(lane, id, mark)
  redis.call("HSET", lanes, lane, string.format("%.0f%s %s", now_ms, mark or "", id))
end

-- Give up a lane and admit who comes next. A lane that nobody holds was lost: who waits there has nobody else to be admitted by.
leave_lane = function(id, lane)
  if not lane or (holder_of(lane) or id) ~= id then
    return
  end
  for passed = 1, 257 do
    local member = redis.call("ZRANGEBYLEX", lane_waiting, "[" .. lane .. "\0", "(" .. lane .. "\1", "LIMIT", 0, 1)[1]
    if not member then
      redis.call("HDEL", lanes, lane)
      return
    end
    local next_id, text = string.match(member, "^%Z*%z%x+%z(%Z*)%z(.*)$")
    local facts = read_facts(text)
    facts.lane = lane
    local is_there = redis.call("HEXISTS", messages, next_id) == 1
    if not is_there and passed == 257 then
      -- Many cancelled ones in a row: this call has done enough, promote goes on.
      hold(lane, next_id)
      keep_facts(next_id, facts)
      redis.call("ZADD", delayed, now_ms, next_id)
      redis.call("ZREM", lane_waiting, member)
      passed_over("void_waiting")
      return
    end
    redis.call("ZREM", lane_waiting, member)
    if is_there then
      hold(lane, next_id)
      return admit_to_group(next_id, facts, false)
    end
    passed_over("void_waiting")
    free_unique(next_id, facts)
  end
end

-- Let a message run, or wait for its lane and its group. at_head: it already had its place (retry, put back). is_new: nothing
-- is kept of it but its body.
local function admit(id, facts, at_head, is_new)
  local lane = facts.lane
  if lane then
    local holder, is_dead = holder_of(lane)
    if holder and holder ~= id then
      if not is_new then
        redis.call("HDEL", about, id)
      end
      local sequence = string.format("%010x", redis.call("HINCRBY", counters, "sequence", 1))
      redis.call("ZADD", lane_waiting, 0, table.concat({ lane, sequence, id, write_facts(facts, "lane") }, "\0"))
      -- A holder without a body (evicted, deleted by hand) never leaves by itself: all who wait would wait for ever.
      if not is_dead and redis.call("HEXISTS", messages, holder) == 0 then
        leave_lane(holder, lane)
      end
      return
    end
    if holder ~= id or is_dead then
      hold(lane, id)
    end
  end
  admit_to_group(id, facts, at_head)
end
