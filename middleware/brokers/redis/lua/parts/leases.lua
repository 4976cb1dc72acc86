-- leases.lua — the right to run a message, for a time.
-- Needs  leases
-- Gives  lease_of end_lease read_lease fetcher_of owner_of is_leased
-- A member is 'id NUL token': whoever names another token has no lease, and one ZREM is check and end in one.

local function lease_of(id, token)
  return id .. "\0" .. token
end

local function end_lease(id, token)
  return redis.call("ZREM", leases, lease_of(id, token)) == 1
end

local function read_lease(member)
  return string.match(member, "^(%Z*)%z(.*)$")
end

-- The head of a token: whose fetch it was.
local function fetcher_of(token)
  return string.match(token, "^(.*)%.%d+$")
end

-- The worker of that fetch; a plus sign marks the fetches that it sends with its wait.
local function owner_of(token)
  return string.match(token, "^(.-)%+?%.%d+$")
end

-- Bounded by what all workers have in flight; for rare calls.
local function is_leased(id)
  for _, member in ipairs(redis.call("ZRANGE", leases, 0, -1)) do
    if read_lease(member) == id then
      return true
    end
  end
  return false
end
