-- purge.lua — drop every live message of a queue. Dead letters stay: they are evidence. So do gates and a pause.
-- Parts   base
-- Needs   ready messages about delayed leases deliveries lanes lane_waiting groups group_waiting group_due slots unique cooling control
-- Returns  number of messages dropped
-- A worker that still runs one of them finds its lease gone: its finish changes nothing.
local dropped = redis.call("HLEN", messages)
redis.call("UNLINK", ready, messages, about, delayed, leases, deliveries, lanes, lane_waiting, groups, group_waiting, group_due,
  slots, unique, cooling, wake)
redis.call("HDEL", control, "void_ready", "void_waiting")
return dropped
