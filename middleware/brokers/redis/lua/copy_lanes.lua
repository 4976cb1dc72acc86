-- copy_lanes.lua — read lanes as they stand at one moment: who holds each, and who waits behind, in their order. Changes nothing.
-- Parts   base facts copied
-- Needs   messages about delayed deliveries lanes lane_waiting
-- ARGV[1] limit        integer  most who wait that are read
-- ARGV[2…] lane, after  pairs    after: who waits there was read up to this member; '' = nobody yet
-- Returns  lanes read to their end, the member up to which the next one was read | '',
--          per message: id, facts, body, eta_ms | '', starts without an outcome | '', 1 it holds its lane | 0
-- A holder is read with every slice of its lane: who waited at the last one may hold it now.
local limit, done, last = tonumber(ARGV[1]), 0, ""
local rows, names, holders = {}, {}, {}
local any_delayed, any_crashes = redis.call("EXISTS", delayed) == 1, redis.call("EXISTS", deliveries) == 1
local anybody_waits = redis.call("EXISTS", lane_waiting) == 1

-- Facts of those who hold stand by themselves, of those who wait with their places.
local function read(ids)
  local bodies, etas, crashes = redis.call("HMGET", messages, unpack(ids)), {}, {}
  if any_delayed then
    etas = redis.call("ZMSCORE", delayed, unpack(ids))
  end
  if any_crashes then
    crashes = redis.call("HMGET", deliveries, unpack(ids))
  end
  return bodies, etas, crashes
end

local function add(id, text, body, eta, crashes, holds)
  if body then
    local at = #rows
    rows[at + 1], rows[at + 2], rows[at + 3] = id, as_owned(id, text), body
    rows[at + 4], rows[at + 5], rows[at + 6] = eta or "", crashes or "", holds
  end
end

local function read_holders()
  local held, ids, at = redis.call("HMGET", lanes, unpack(names)), {}, {}
  for index, name in ipairs(names) do
    -- A dead letter holds a lane too, marked d (parts/lanes.lua).
    local id = held[index] and string.match(held[index], "^%d+ (.*)$")
    if id then
      at[#ids + 1] = name
      ids[#ids + 1] = id
    end
  end
  if #ids > 0 then
    local texts, bodies, etas, crashes = redis.call("HMGET", about, unpack(ids)), read(ids)
    for index, id in ipairs(ids) do
      local text = texts[index] or write_facts({ lane = at[index], flags = "" })
      holders[at[index]] = { id, text, bodies[index], etas[index], crashes[index], 1 }
    end
  end
end

-- How many were read, and the last of them.
local function add_waiting(lane, after, room)
  local from = after == "" and "[" .. lane .. "\0" or "(" .. after
  local members = redis.call("ZRANGEBYLEX", lane_waiting, from, "(" .. lane .. "\1", "LIMIT", 0, room)
  local ids, texts = {}, {}
  for index, member in ipairs(members) do
    local id, text = string.match(member, "^%Z*%z%x+%z(%Z*)%z(.*)$")
    -- The lane is what its facts leave out.
    ids[index], texts[index] = id, lane .. text
  end
  if #ids > 0 then
    local bodies, etas, crashes = read(ids)
    for index, id in ipairs(ids) do
      add(id, texts[index], bodies[index], etas[index], crashes[index], 0)
    end
  end
  return #members, members[#members]
end

for index = 2, #ARGV, 2 do
  names[#names + 1] = ARGV[index]
end
read_holders()
for index, lane in ipairs(names) do
  if holders[lane] then
    add(unpack(holders[lane], 1, 6))
  end
  if anybody_waits then
    local after = ARGV[2 * index + 1]
    local read_now, member = add_waiting(lane, after, limit)
    limit = limit - read_now
    if limit <= 0 then
      last = member or after
      break
    end
  end
  done = done + 1
end
return { done, last, unpack(rows) }
