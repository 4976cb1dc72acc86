-- copy_groups.lua — read who waits for a group, in their order, slice by slice. Changes nothing.
-- Parts   base facts copied
-- Needs   messages deliveries group_waiting
-- ARGV[1] limit  integer  most that are read
-- ARGV[2] after  bytes    they were read up to this member; '' = nobody yet
-- Returns  the last member that was read | '' all were, per message: id, facts, body, starts without an outcome | ''
local limit, after = tonumber(ARGV[1]), ARGV[2]
local members = redis.call("ZRANGEBYLEX", group_waiting, after == "" and "-" or "(" .. after, "+", "LIMIT", 0, limit)
local ids, texts = {}, {}
for index, member in ipairs(members) do
  local group, id, text = string.match(member, "^(%Z*)%z%x+%z(%Z*)%z(.*)$")
  local facts = read_facts(text)
  ids[index], texts[index] = id, as_owned(id, write_facts({ lane = facts.lane, group = group, unique_key = facts.unique_key, flags = facts.flags }))
end
local report = { #members == limit and members[#members] or "" }
if #ids > 0 then
  local bodies, crashes = redis.call("HMGET", messages, unpack(ids)), {}
  if redis.call("EXISTS", deliveries) == 1 then
    crashes = redis.call("HMGET", deliveries, unpack(ids))
  end
  for index, id in ipairs(ids) do
    if bodies[index] then
      report[#report + 1] = id
      report[#report + 1] = texts[index]
      report[#report + 1] = bodies[index]
      report[#report + 1] = crashes[index] or ""
    end
  end
end
return report
