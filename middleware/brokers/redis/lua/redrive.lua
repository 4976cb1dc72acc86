-- redrive.lua — send a dead letter again, with a fresh budget of attempts: at the end of its lane, or first if it holds it.
-- Parts   base facts unique slots groups lanes dead
-- Needs   messages finished finished_before
-- ARGV[1] id     text
-- ARGV[2] body   bytes   the message with its attempts reset
-- Returns  'redriven' · 'missing' no such dead letter · 'duplicate' a live message has its unique key; the letter stays
local id, body = ARGV[1], ARGV[2]
local letter = letter_of(id)
if not letter then
  return "missing"
end
local facts = facts_of_letter(letter)
if facts.unique_key then
  local live_id = redis.call("HGET", unique, facts.unique_key)
  if live_id and live_id ~= id and redis.call("HEXISTS", messages, live_id) == 1 then
    return "duplicate"
  end
  redis.call("HSET", unique, facts.unique_key, id)
end
remove_letter(id, letter)
redis.call("SREM", finished, id)
redis.call("SREM", finished_before, id)
redis.call("HSET", messages, id, body)
count("redriven")
if not (facts.lane or facts.group or facts.unique_key) then
  facts = NOWHERE
end
admit(id, facts, false)
return "redriven"
