-- announced.lua — strike dead letters off the list of those to announce.
-- ARGV[…] id
-- Returns  number struck off
return redis.call("ZREM", unannounced, unpack(ARGV))
