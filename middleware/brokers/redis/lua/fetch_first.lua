-- fetch_first.lua — of several queues, hand out the first message that is ready: the fetch that is sent with a wait.
-- Parts   base due handing
-- Late    facts unique slots groups lanes running
-- Needs   ready control
-- KEYS    of each queue, one queue after the other
-- ARGV[1] lease_ms   integer  until anybody may take it back
-- ARGV[2] owner      text     who asks; the head of the fencing token
-- Returns  {} | {index of its queue, next_due_in_ms there | -1, ids still ready there, id, token, deliveries, body, facts}
-- Nothing is promoted: who asks knows when something comes due, and fetches then. Not repeated when the reply is lost, as
-- fetch.lua is not.
for index = 0, #KEYS / WIDTH - 1 do
  bind(index)
  if redis.call("EXISTS", ready) == 1 and redis.call("HEXISTS", control, "paused_at_ms") == 0 then
    local handed = hand_out(1, tonumber(ARGV[1]), ARGV[2], late)
    local left = redis.call("LLEN", ready)
    if left > 0 then
      ring()
    end
    if #handed > 0 then
      return { index, next_due_in(), left, unpack(handed) }
    end
  end
end
return {}
