-- inbox.lua — what a stock producer leaves in its own layout: delays in .DQ, dead letters in .XQ.
-- Needs  stock_delayed stock_delayed_messages stock_dead stock_dead_messages messages delayed
-- Gives  empty_inboxes

local function take_delayed(limit)
  for _, id in ipairs(redis.call("LPOP", stock_delayed, limit) or {}) do
    local body = redis.call("HGET", stock_delayed_messages, id)
    if body then
      redis.call("HDEL", stock_delayed_messages, id)
      -- Who may have it later is none of this script's business: unreadable bytes are the consumer's to bury.
      local is_read, message = pcall(cjson.decode, body)
      local options = is_read and type(message) == "table" and message.options
      local eta_ms = type(options) == "table" and tonumber(options.eta) or now_ms
      if redis.call("HSETNX", messages, id, body) == 1 then
        count("enqueued")
        redis.call("ZADD", delayed, eta_ms, id)
      end
    end
  end
end

local function take_dead(limit)
  if stock_dead == dead then
    return
  end
  local members = redis.call("ZRANGE", stock_dead, 0, limit - 1)
  for _, id in ipairs(members) do
    local body = redis.call("HGET", stock_dead_messages, id)
    redis.call("ZREM", stock_dead, id)
    redis.call("HDEL", stock_dead_messages, id)
    if body then
      bury(id, NOWHERE, { reason = "rejected", fingerprint = "rejected", evidence = {}, body = body, deliveries = 0 })
    end
  end
end

local function empty_inboxes(limit)
  take_delayed(limit)
  take_dead(limit)
end
