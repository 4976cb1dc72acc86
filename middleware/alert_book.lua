-- alert_book.lua — replace the book of alerts if it is still what the caller read.
-- KEYS[1]  hash     book, and when all facts were looked at last
-- ARGV[1]  text     the book as it was read; '' = there was none
-- ARGV[2]  text     as it shall be
-- ARGV[3]  integer  1 = all facts were looked at; note when, by Redis' clock
-- Returns  1 replaced · 0 it is another by now
local key, seen, new, looked = KEYS[1], ARGV[1], ARGV[2], ARGV[3]
if (redis.call("HGET", key, "book") or "") ~= seen then
  return 0
end
redis.call("HSET", key, "book", new)
if looked == "1" then
  local time = redis.call("TIME")
  redis.call("HSET", key, "looked_at_ms", string.format("%.0f", time[1] * 1000 + math.floor(time[2] / 1000)))
end
return 1
