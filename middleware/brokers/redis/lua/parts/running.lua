-- running.lua — what a fetch does for messages that belong somewhere, or are gone.
-- Needs  slots
-- Gives  may_run pass_over start

-- Whether the gate of its group lets this one run; if not, it waits again, before those who have not passed yet.
local function may_run(id, group, text)
  local admitted, running = load_of(group)
  local gate = gate_of(group)
  local is_early = gate and gate.next_at_ms > now_ms
  if not gate or (gate.paused_at_ms == 0 and not is_early and (gate.limit < 0 or running < gate.limit)) then
    keep_load(group, admitted, running + 1)
    return true
  end
  redis.call("HDEL", slots, id)
  keep_load(group, admitted - 1, running)
  hand_back(group, gate)
  wait_in_group(id, read_facts(text), "b")
  local wait_ms = closed_for(gate, admitted - 1)
  if wait_ms >= 0 then
    come_back(group, wait_ms)
  end
  return false
end

-- A cancelled message, or one whose body somebody took.
local function pass_over(id, text)
  local facts = read_facts(text)
  passed_over("void_ready")
  forget(id)
  free_unique(id, facts)
  leave_slot(id, false)
  leave_lane(id, facts.lane)
end

local function start(id, text)
  local facts = read_facts(text)
  if has_flag(facts, "s") then
    free_unique(id, facts)
  end
end
