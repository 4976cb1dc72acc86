-- announce.lua — claim dead letters that nobody has been told of.
-- Parts   base
-- Needs   unannounced letters bodies
-- ARGV[1] limit      integer  most letters claimed
-- ARGV[2] hold_ms    integer  until they are claimed again, should the announcer die
-- Returns  id, letter, body, id, letter, …  oldest first; the caller removes each with announced.lua when told
local limit, hold_ms = tonumber(ARGV[1]), tonumber(ARGV[2])
local claimed = {}
for _, id in ipairs(redis.call("ZRANGEBYSCORE", unannounced, "-inf", now_ms, "LIMIT", 0, limit)) do
  redis.call("ZADD", unannounced, now_ms + hold_ms, id)
  claimed[#claimed + 1] = id
  claimed[#claimed + 1] = redis.call("HGET", letters, id)
  claimed[#claimed + 1] = redis.call("HGET", bodies, id)
end
return claimed
