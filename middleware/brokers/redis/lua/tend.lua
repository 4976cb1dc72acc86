-- tend.lua — what must happen without anybody asking: promote, reclaim, forget, trim. For all queues of the call.
-- ARGV[1] max_deliveries  integer  started more often than this without an outcome → dead letter crash_loop
-- ARGV[2] dead_max_age_ms integer  dead letters older than this are dropped
-- ARGV[3] dead_max        integer  most dead letters kept per queue
-- ARGV[4] worker_id       text     who calls; '' = a process that serves no queue
-- ARGV[5] alive_ms        integer  how long it counts as alive without another call
-- ARGV[6] facts           text     JSON of what it says of itself
-- KEYS    the last two, after those of the queues: workers, worker_facts
-- Returns  per queue: reclaimed, buried, dead letters to announce now, next_due_in_ms | -1, dead letters dropped,
--          ids ready (a stock producer rings no bell)
-- Safe to run on every process at once; every step is bounded.
local max_deliveries, dead_max_age_ms, dead_max = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])

local function reclaim()
  local reclaimed, buried = 0, 0
  local expired = redis.call("ZRANGEBYSCORE", leases, "-inf", now_ms, "LIMIT", 0, 128)
  -- Newest first, each to the head: the oldest ends up in front, where it was.
  for index = #expired, 1, -1 do
    local id = expired[index]
    drop_lease(id)
    local body = redis.call("HGET", messages, id)
    local times = tonumber(redis.call("HGET", deliveries, id) or 0)
    if body and times > max_deliveries then
      bury(id, facts_of(id), "crash_loop", { attempts = times }, body)
      buried = buried + 1
    elseif body then
      redis.call("LPUSH", ready, id)
      reclaimed = reclaimed + 1
    else
      remove(id, facts_of(id))
    end
  end
  if reclaimed > 0 then
    count("reclaimed", reclaimed)
    ring()
  end
  return reclaimed, buried
end

local function forget_dead(ids)
  for _, id in ipairs(ids) do
    redis.call("ZREM", dead, id)
    redis.call("ZREM", unannounced, id)
    forget_unique_of_letter(id)
    redis.call("HDEL", letters, id)
    redis.call("HDEL", bodies, id)
  end
  return #ids
end

local function sign_in(worker_id, alive_ms, facts)
  local workers, worker_facts = KEYS[#KEYS - 1], KEYS[#KEYS]
  redis.call("ZADD", workers, now_ms + alive_ms, worker_id)
  redis.call("HSET", worker_facts, worker_id, facts)
  for _, gone in ipairs(redis.call("ZRANGEBYSCORE", workers, "-inf", now_ms, "LIMIT", 0, 64)) do
    redis.call("ZREM", workers, gone)
    redis.call("HDEL", worker_facts, gone)
  end
end

if ARGV[4] ~= "" then
  sign_in(ARGV[4], tonumber(ARGV[5]), ARGV[6])
end

local report = {}
for index = 0, math.floor(#KEYS / WIDTH) - 1 do
  bind(index)
  promote(128)
  local reclaimed, buried = reclaim()
  for _, member in ipairs(redis.call("ZRANGEBYSCORE", finished, "-inf", now_ms, "LIMIT", 0, 256)) do
    redis.call("ZREM", finished, member)
  end
  local dropped = forget_dead(redis.call("ZRANGEBYSCORE", dead, "-inf", now_ms - dead_max_age_ms, "LIMIT", 0, 64))
  local excess = redis.call("ZCARD", dead) - dead_max
  if excess > 0 then
    dropped = dropped + forget_dead(redis.call("ZRANGE", dead, 0, math.min(excess, 64) - 1))
  end
  report[#report + 1] = reclaimed
  report[#report + 1] = buried
  report[#report + 1] = redis.call("ZCOUNT", unannounced, "-inf", now_ms)
  report[#report + 1] = next_due_in()
  report[#report + 1] = dropped
  report[#report + 1] = redis.call("LLEN", ready)
end
return report
