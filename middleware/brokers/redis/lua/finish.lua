-- finish.lua — apply the outcomes of attempts, each once.
-- Parts   base
-- Late    facts unique slots groups lanes dead leases
-- Needs   messages delayed finished deliveries leases
-- ARGV[1] repeated         1 = this call was made before and its reply lost
-- ARGV[2] dead_max_age_ms  integer  dead letters older than this go
-- ARGV[3] dead_max         integer  most dead letters kept
-- ARGV[4…] per attempt three, and six more but for the first two outcomes:
--   id           text
--   token        text     of the lease under which it ran
--   outcome      text     plain (done, and the fetch said that it belongs nowhere) | done | retry | snooze | yield (a snooze
--                         behind the others of its lane) | unspent (a snooze that did nothing with its turn: its group's pace
--                         does not count it) | dead | dead_holding (and its letter holds its lane)
--   delay_ms     integer  retry and snooze: wait; 0 = at once, at the head
--   group_for_ms integer  its group lets nobody pass for so long; 0 = says nothing of it
--   body         bytes    the message as it is now (retry, snooze, dead)
--   reason       text     dead: why
--   fingerprint  text     dead: which letters are alike; '' = those of this reason
--   evidence     JSON     dead: what an operator needs to see
-- Returns  per attempt 1 applied · 0 stale: the lease is another's (or, repeated, was ended by the first call); nothing changed
local repeated, dead_max_age_ms, dead_max = ARGV[1] == "1", tonumber(ARGV[2]), tonumber(ARGV[3])
local counted = {}
local any_crashes = redis.call("EXISTS", deliveries) == 1

local function tally(what)
  counted[what] = (counted[what] or 0) + 1
end

local function hold_off(group, for_ms)
  local gate = late().gate_of(group) or late().new_gate()
  gate.next_at_ms = math.max(gate.next_at_ms, now_ms + for_ms)
  late().keep_gate(group, gate)
end

local function come_again(id, facts, outcome, delay_ms, body)
  redis.call("HSET", messages, id, body)
  if any_crashes then
    redis.call("HDEL", deliveries, id)
  end
  if outcome == "unspent" and facts.group then
    late().hand_back(facts.group, late().gate_of(facts.group))
  end
  if delay_ms == 0 and outcome ~= "yield" then
    -- It stays before all who wait: they have what it leaves when it has its place again.
    local group = late().give_up_slot(id, true)
    late().admit(id, facts, true)
    return group and late().let_in(group)
  end
  late().leave_slot(id, true)
  if outcome == "yield" then
    late().leave_lane(id, facts.lane)
  end
  if delay_ms > 0 then
    redis.call("ZADD", delayed, now_ms + delay_ms, id)
    if redis.call("ZRANGE", delayed, 0, 0)[1] == id then
      ring()
    end
  else
    late().admit(id, facts, false)
  end
end

local function die(id, token, facts, body, reason, fingerprint, evidence)
  -- An error now would leave it without lease and letter, its lane held for ever: better a death without its story.
  local is_read, story = pcall(cjson.decode, evidence)
  local deaths = tonumber(redis.call("HGET", deliveries, id) or 0) + 1
  late().bury(id, facts, {
    reason = reason, fingerprint = fingerprint ~= "" and fingerprint or reason, evidence = is_read and story or {}, body = body, deliveries = deaths, worker = late().owner_of(token),
  })
  late().trim_letters(dead_max_age_ms, dead_max, 2)
end

local function end_routed(id)
  local facts = late().facts_of(id)
  redis.call("HDEL", about, id)
  late().free_unique(id, facts)
  late().leave_slot(id, true)
  late().leave_lane(id, facts.lane)
end

local function finish(id, token, outcome, delay_ms, group_for_ms, body, reason, fingerprint, evidence)
  if redis.call("ZREM", leases, id .. "\0" .. token) == 0 then
    if not repeated then
      tally("stale_finishes")
    end
    return 0
  end
  if outcome == "plain" or outcome == "done" then
    tally("done")
    redis.call("SADD", finished, id)
    redis.call("HDEL", messages, id)
    if any_crashes then
      redis.call("HDEL", deliveries, id)
    end
    if outcome == "done" then
      end_routed(id)
    end
    return 1
  end
  local facts = late().facts_of(id)
  if facts.group and tonumber(group_for_ms) > 0 then
    hold_off(facts.group, tonumber(group_for_ms))
  end
  if outcome == "dead_holding" then
    -- A letter holds its lane by this flag until it is redriven or goes.
    facts = { lane = facts.lane, group = facts.group, unique_key = facts.unique_key, flags = facts.flags .. "d" }
    outcome = "dead"
  end
  if outcome == "dead" then
    redis.call("SADD", finished, id)
    late().leave_slot(id, true)
    die(id, token, facts, body, reason, fingerprint, evidence)
  else
    tally(outcome == "retry" and "retried" or "snoozed")
    come_again(id, facts, outcome, tonumber(delay_ms), body)
  end
  return 1
end

local report = {}
local index = 4
while index <= #ARGV do
  local outcome = ARGV[index + 2]
  local width = (outcome == "plain" or outcome == "done") and 3 or 9
  report[#report + 1] = finish(unpack(ARGV, index, index + width - 1))
  index = index + width
end
for what, times in pairs(counted) do
  count(what, times)
end
return report
