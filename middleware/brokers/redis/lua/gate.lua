-- gate.lua — say how many messages of a group may be ready or running at a time, from when on and how fast.
-- Parts   base facts unique slots groups lanes
-- ARGV[1] group        text
-- ARGV[2] limit        integer  at a time; 0 = none, 1 = one, -1 = any number; '' = as it was
-- ARGV[3] next_in_ms   integer  none before then; '' = as it was
-- ARGV[4] interval_ms  number   one in so long, on average; 0 = any number; '' = as it was
-- ARGV[5] burst        integer  so many at once before the interval counts; '' = as it was
-- ARGV[6] paused       1 = an operator holds it · 0 = not · '' = as it was
-- ARGV[7] jitter       number   the interval is uneven by so much of itself, 0 … 1; '' = as it was
-- Returns  1
-- Safe to repeat. What is ready already and may not run any more goes back to wait when it is fetched.
local group = ARGV[1]
local gate = gate_of(group) or new_gate()

if ARGV[2] ~= "" then gate.limit = tonumber(ARGV[2]) end
if ARGV[3] ~= "" then gate.next_at_ms = now_ms + tonumber(ARGV[3]) end
if ARGV[4] ~= "" and tonumber(ARGV[4]) ~= gate.interval_ms then
  gate.interval_ms = tonumber(ARGV[4])
  -- A debt at the old pace is not owed at the new one.
  gate.tat_ms = math.min(gate.tat_ms, now_ms + gate.interval_ms)
end
if ARGV[5] ~= "" then gate.burst = math.max(1, tonumber(ARGV[5])) end
if ARGV[6] == "1" and gate.paused_at_ms == 0 then gate.paused_at_ms = now_ms end
if ARGV[6] == "0" then gate.paused_at_ms = 0 end
if ARGV[7] ~= "" then gate.jitter = tonumber(ARGV[7]) end
keep_gate(group, gate)
redis.call("ZREM", group_due, group)
let_in(group)
return 1
