-- swap.lua — change a record if it is still what the caller saw.
-- KEYS[1]  hash  records
-- ARGV[1]  text  name
-- ARGV[2]  text  as it was seen; '' = there was none
-- ARGV[3]  text  as it shall be; '' = none
-- Returns  1 changed · 0 it is another by now
if (redis.call("HGET", KEYS[1], ARGV[1]) or "") ~= ARGV[2] then
  return 0
end
if ARGV[3] == "" then
  redis.call("HDEL", KEYS[1], ARGV[1])
else
  redis.call("HSET", KEYS[1], ARGV[1], ARGV[3])
end
return 1
