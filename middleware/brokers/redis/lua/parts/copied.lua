-- copied.lua — what a copy says of where a message belongs.
-- Needs  unique
-- Gives  as_owned

-- The facts without a unique key that was free at its start: somebody else may have it by now.
local function as_owned(id, text)
  -- That flag is the last one.
  if string.sub(text, -1) ~= "s" then
    return text
  end
  local facts = read_facts(text)
  if not has_flag(facts, "s") or not facts.unique_key or redis.call("HGET", unique, facts.unique_key) == id then
    return text
  end
  return write_facts({ lane = facts.lane, group = facts.group, flags = facts.flags })
end
