-- groups.lua — what the gates of a queue say, and how many messages wait behind each.
-- Parts   base facts unique slots groups
-- Returns  per group with a gate: group, limit, next_in_ms, interval_ms as text, burst, paused_at_ms | 0, admitted, running, waiting
-- Grows with the number of gates (instances), not with the backlog.
local report = {}
local held = redis.call("HGETALL", gates)
for index = 1, #held, 2 do
  local group = held[index]
  local gate = gate_of(group)
  local admitted, running = load_of(group)
  report[#report + 1] = {
    group, gate.limit, math.max(0, math.ceil(gate.next_at_ms - now_ms)), tostring(gate.interval_ms), gate.burst,
    gate.paused_at_ms, admitted, running,
    redis.call("ZLEXCOUNT", group_waiting, "[" .. group .. "\0", "(" .. group .. "\1"),
  }
end
return report
