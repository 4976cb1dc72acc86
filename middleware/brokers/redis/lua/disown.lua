-- disown.lua — put back what was handed out in a reply that never came: nobody started it, so it does not count.
-- ARGV[1] owner         text     whose replies were lost; the head of its tokens
-- ARGV[2…] token        what it has in hand
-- Returns  number put back
-- Bounded by what all workers have in flight. Only for whoever fetches this queue for that owner, between two fetches.
local in_hand, disowned = {}, 0
for index = 2, #ARGV do
  in_hand[ARGV[index]] = true
end
local held = redis.call("HGETALL", tokens)
for index = 1, #held, 2 do
  local id, token = held[index], held[index + 1]
  if string.match(token, "^(.*)%.%d+$") == ARGV[1] and not in_hand[token] then
    drop_lease(id)
    redis.call("HINCRBY", deliveries, id, -1)
    redis.call("LPUSH", ready, id)
    disowned = disowned + 1
  end
end
if disowned > 0 then
  count("disowned", disowned)
  ring()
end
return disowned
