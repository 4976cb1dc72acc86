-- announced.lua — strike dead letters off the list of those to announce; from then on their unique keys are free.
-- Parts   base facts unique slots groups lanes dead
-- ARGV[…] id
-- Returns  number struck off
local struck = 0
for _, id in ipairs(ARGV) do
  struck = struck + redis.call("ZREM", unannounced, id)
  local letter = letter_of(id)
  if letter then
    free_unique(id, facts_of_letter(letter))
  end
end
return struck
