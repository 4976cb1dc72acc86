-- groups.lua — how many messages of a group may be ready or running, and from when on.
-- Needs  ready gates group_waiting group_due messages control
-- Gives  gate_of new_gate keep_gate hand_back closed_for first_waiting wait_in_group come_back admit_to_group let_in give_up_slot leave_slot
-- A group without a gate is open. What may not pass waits in group_waiting, 'group NUL place NUL id NUL facts', and is let in by
-- whoever leaves a slot, opens the gate, or by promote when its time comes. A place is a class and a sequence:
-- a  had passed before and came back (newest first) · b was taken out of ready by a gate that closed · c came in order
local leave_lane

local function gate_of(group)
  local text = redis.call("HGET", gates, group)
  if not text then
    return nil
  end
  local limit, next_at, interval, burst, tat, paused, jitter =
    string.match(text, "^(%S+) (%S+) (%S+) (%S+) (%S+) (%S+) (%S+)$")
  return {
    limit = tonumber(limit), next_at_ms = tonumber(next_at), interval_ms = tonumber(interval), burst = tonumber(burst),
    tat_ms = tonumber(tat), paused_at_ms = tonumber(paused), jitter = tonumber(jitter),
  }
end

local function new_gate()
  return { limit = -1, next_at_ms = 0, interval_ms = 0, burst = 1, tat_ms = 0, paused_at_ms = 0, jitter = 0 }
end

local function keep_gate(group, gate)
  redis.call("HSET", gates, group, string.format("%d %d %s %d %.3f %d %s", gate.limit, gate.next_at_ms,
    tostring(gate.interval_ms), gate.burst, gate.tat_ms, gate.paused_at_ms, tostring(gate.jitter)))
end

-- What one that passed and did nothing took of the pace.
local function hand_back(group, gate)
  if gate and gate.interval_ms > 0 then
    gate.tat_ms = gate.tat_ms - gate.interval_ms
    keep_gate(group, gate)
  end
end

-- Milliseconds until the gate lets one more pass; 0 = now, -1 = not before somebody leaves or opens it. Pace is GCRA: tat_ms is
-- the time at which the burst is whole again.
local function closed_for(gate, admitted)
  if gate.paused_at_ms > 0 or (gate.limit >= 0 and admitted >= gate.limit) then
    return -1
  end
  local wait_ms = gate.next_at_ms - now_ms
  if gate.interval_ms > 0 then
    wait_ms = math.max(wait_ms, gate.tat_ms - (gate.burst - 1) * gate.interval_ms - now_ms)
  end
  return math.max(0, math.ceil(wait_ms))
end

local function first_waiting(group)
  return redis.call("ZRANGEBYLEX", group_waiting, "[" .. group .. "\0", "(" .. group .. "\1", "LIMIT", 0, 1)[1]
end

local function place(class)
  local sequence = redis.call("HINCRBY", counters, "sequence", 1)
  return class .. string.format("%010x", class == "a" and 0xffffffffff - sequence or sequence)
end

local function wait_in_group(id, facts, class)
  if facts.lane then
    -- It holds its lane: when it is cancelled here, cancel.lua must know which one to give up.
    keep_facts(id, facts)
  else
    redis.call("HDEL", about, id)
  end
  local member = table.concat({ facts.group, place(class), id, write_facts(facts, "group") }, "\0")
  redis.call("ZADD", group_waiting, 0, member)
end

local function come_back(group, wait_ms)
  redis.call("ZADD", group_due, "LT", now_ms + wait_ms, group)
  -- A block may be timed for later.
  if redis.call("ZRANGE", group_due, 0, 0)[1] == group then
    ring()
  end
end

local function make_ready(id, facts, at_head)
  keep_facts(id, facts)
  redis.call(at_head and "LPUSH" or "RPUSH", ready, id)
  ring()
end

local function pass(id, facts, gate, at_head)
  local group = facts.group
  local admitted, running = load_of(group)
  redis.call("HSET", slots, id, group)
  keep_load(group, admitted + 1, running)
  if gate and gate.interval_ms > 0 then
    -- The microseconds of Redis' clock are as good as dice: a pace without any unevenness is a machine's.
    local uneven = 1 + gate.jitter * (time[2] % 1000 / 500 - 1)
    gate.tat_ms = math.max(gate.tat_ms, now_ms) + gate.interval_ms * uneven
    keep_gate(group, gate)
  end
  make_ready(id, facts, at_head)
end

-- at_head: it had passed before (retry, put back).
local function admit_to_group(id, facts, at_head)
  local group = facts.group
  if not group then
    return make_ready(id, facts, at_head)
  end
  local gate = gate_of(group)
  if gate then
    local wait_ms = closed_for(gate, (load_of(group)))
    local others = not at_head and first_waiting(group)
    if wait_ms ~= 0 or others then
      wait_in_group(id, facts, at_head and "a" or "c")
      if wait_ms >= 0 then
        come_back(group, wait_ms)
      end
      return
    end
  end
  pass(id, facts, gate, at_head)
end

-- Let in who waits, as far as the gate allows; a gate that holds nobody off any more goes. Bounded; the rest comes with the
-- next promote.
local function let_in(group)
  local gate = gate_of(group)
  for _ = 1, 64 do
    local wait_ms = gate and closed_for(gate, (load_of(group))) or 0
    if wait_ms < 0 then
      return
    end
    local member = first_waiting(group)
    if not member then
      if gate and gate.limit < 0 and wait_ms == 0 and gate.interval_ms == 0 then
        redis.call("HDEL", gates, group)
      end
      return
    end
    if wait_ms > 0 then
      return come_back(group, wait_ms)
    end
    redis.call("ZREM", group_waiting, member)
    local id, text = string.match(member, "^%Z*%z%x+%z(%Z*)%z(.*)$")
    local facts = read_facts(text)
    facts.group = group
    if redis.call("HEXISTS", messages, id) == 1 then
      pass(id, facts, gate, false)
    else
      passed_over("void_waiting")
      free_unique(id, facts)
      leave_lane(id, facts.lane)
    end
  end
  come_back(group, 0)
end

-- The group whose slot it had; who waits there has yet to be let in.
local function give_up_slot(id, ran)
  local group = redis.call("HGET", slots, id)
  if group then
    redis.call("HDEL", slots, id)
    local admitted, running = load_of(group)
    keep_load(group, admitted - 1, running - (ran and 1 or 0))
  end
  return group
end

local function leave_slot(id, ran)
  local group = give_up_slot(id, ran)
  if group then
    let_in(group)
  end
end
