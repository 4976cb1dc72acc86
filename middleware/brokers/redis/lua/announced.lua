-- announced.lua — strike dead letters off the list of those to announce.
-- ARGV[…] id
-- Returns  number struck off
for _, id in ipairs(ARGV) do
  forget_unique_of_letter(id)
end
return redis.call("ZREM", unannounced, unpack(ARGV))
