-- purge.lua — drop every live message of a queue. Dead letters stay: they are evidence.
-- Returns  number of messages dropped
-- A worker that still runs one of them finds its lease gone: its finish changes nothing.
local dropped = redis.call("HLEN", messages)
redis.call("UNLINK", ready, messages, about, delayed, leases, tokens, deliveries, lanes, lane_waiting, unique, wake)
return dropped
