-- due.lua — when time brings something next.
-- Needs  delayed group_due
-- Gives  next_due_in

-- Milliseconds until time brings something; -1 when nothing waits for it.
local function next_due_in()
  local due_ms
  for _, key in ipairs({ delayed, group_due }) do
    local first = redis.call("ZRANGE", key, 0, 0, "WITHSCORES")
    if first[2] and (not due_ms or tonumber(first[2]) < due_ms) then
      due_ms = tonumber(first[2])
    end
  end
  return due_ms and math.max(0, math.ceil(due_ms - now_ms)) or -1
end
