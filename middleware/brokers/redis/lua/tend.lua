-- tend.lua — what must happen without anybody asking: promote, reclaim, forget, trim, empty the inboxes. For all queues of the call.
-- Parts   base facts unique slots groups lanes dead leases due promote inbox
-- Needs   ready messages deliveries finished finished_before control
-- ARGV[1] max_crashes     integer  started more often than this without an outcome → dead letter crash_loop
-- ARGV[2] dead_max_age_ms integer  dead letters older than this are dropped
-- ARGV[3] dead_max        integer  most dead letters kept per queue
-- ARGV[4] remember_ms     integer  how long the id of a message that ended is known, at least
-- ARGV[5] worker_id       text     who calls; '' = a process that serves no queue
-- ARGV[6] alive_ms        integer  how long it counts as alive without another call
-- ARGV[7] what            text     JSON of what it says of itself
-- KEYS    the last two, after those of the queues: workers, worker_facts
-- Returns  per queue: reclaimed, buried, dead letters to announce now, next_due_in_ms | -1, dead letters dropped,
--          ids ready (a stock producer rings no bell)
-- Safe to run on every process at once; every step is bounded.
local max_crashes, dead_max_age_ms, dead_max = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local remember_ms = tonumber(ARGV[4])

local function crash_loop(id, token, body, crashes)
  redis.call("SADD", finished, id)
  leave_slot(id, true)
  bury(id, facts_of(id), {
    reason = "crash_loop", fingerprint = "crash_loop", evidence = { attempts = crashes }, body = body, deliveries = crashes,
    worker = owner_of(token),
  })
end

local function reclaim()
  local reclaimed, buried = 0, 0
  local expired = redis.call("ZRANGEBYSCORE", leases, "-inf", now_ms, "LIMIT", 0, 128)
  -- Newest first, each to the head: the oldest ends up in front, where it was.
  for index = #expired, 1, -1 do
    local id, token = read_lease(expired[index])
    redis.call("ZREM", leases, expired[index])
    local body = redis.call("HGET", messages, id)
    if body then
      local crashes = redis.call("HINCRBY", deliveries, id, 1)
      if crashes > max_crashes then
        crash_loop(id, token, body, crashes)
        buried = buried + 1
      else
        stop_running(id)
        redis.call("LPUSH", ready, id)
        reclaimed = reclaimed + 1
      end
    else
      local facts = facts_of(id)
      forget(id)
      free_unique(id, facts)
      leave_slot(id, true)
      leave_lane(id, facts.lane)
    end
  end
  if reclaimed > 0 then
    count("reclaimed", reclaimed)
    ring()
  end
  return reclaimed, buried
end

-- Ids of ended messages are kept in two sets that take turns, so that forgetting many costs nothing.
local function take_turns()
  local turned_at_ms = tonumber(redis.call("HGET", control, "turned_at_ms") or 0)
  if now_ms - turned_at_ms >= remember_ms then
    redis.call("UNLINK", finished_before)
    if redis.call("EXISTS", finished) == 1 then
      redis.call("RENAME", finished, finished_before)
    end
    redis.call("HSET", control, "turned_at_ms", string.format("%.0f", now_ms))
  end
  if redis.call("EXISTS", ready, lane_waiting, group_waiting) == 0 then
    redis.call("HDEL", control, "void_ready", "void_waiting")
  end
end

local function sign_in(worker_id, alive_ms, what)
  local workers, worker_facts = KEYS[#KEYS - 1], KEYS[#KEYS]
  redis.call("ZADD", workers, now_ms + alive_ms, worker_id)
  redis.call("HSET", worker_facts, worker_id, what)
  for _, gone in ipairs(redis.call("ZRANGEBYSCORE", workers, "-inf", now_ms, "LIMIT", 0, 64)) do
    redis.call("ZREM", workers, gone)
    redis.call("HDEL", worker_facts, gone)
  end
end

if ARGV[5] ~= "" then
  sign_in(ARGV[5], tonumber(ARGV[6]), ARGV[7])
end

local report = {}
for index = 0, math.floor(#KEYS / WIDTH) - 1 do
  bind(index)
  empty_inboxes(64)
  promote(128)
  local reclaimed, buried = reclaim()
  take_turns()
  cool_down(128)
  local dropped = trim_letters(dead_max_age_ms, dead_max, 64)
  for _, value in ipairs({
    reclaimed, buried, redis.call("ZCOUNT", unannounced, "-inf", now_ms), next_due_in(), dropped, redis.call("LLEN", ready),
  }) do
    report[#report + 1] = value
  end
end
return report
