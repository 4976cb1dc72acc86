-- discard.lua — delete dead letters for good.
-- ARGV[…] id
-- Returns  number deleted
local discarded = 0
for _, id in ipairs(ARGV) do
  if redis.call("ZREM", dead, id) == 1 then
    redis.call("ZREM", unannounced, id)
    forget_unique_of_letter(id)
    redis.call("HDEL", letters, id)
    redis.call("HDEL", bodies, id)
    discarded = discarded + 1
  end
end
return discarded
