-- discard.lua — delete dead letters for good.
-- Parts   base facts unique slots groups lanes dead
-- ARGV[…] id
-- Returns  number deleted
local discarded = 0
for _, id in ipairs(ARGV) do
  if drop_letter(id) then
    discarded = discarded + 1
  end
end
if discarded > 0 then
  count("discarded", discarded)
end
return discarded
