-- adopt.lua — take over what a stock worker that is gone had in its hands.
-- Parts   base
-- Needs   ready messages
-- KEYS    of one queue; the last one is that worker's list of ids: set
-- Returns  number of messages put back to the head
-- Bounded by what one stock worker had fetched.
local acks = KEYS[#KEYS]
local adopted = 0
for _, id in ipairs(redis.call("SMEMBERS", acks)) do
  if redis.call("HEXISTS", messages, id) == 1 then
    redis.call("LPUSH", ready, id)
    adopted = adopted + 1
  end
end
redis.call("DEL", acks)
if adopted > 0 then
  count("adopted", adopted)
  ring()
end
return adopted
