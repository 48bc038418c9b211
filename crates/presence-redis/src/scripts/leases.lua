-- The live leases. KEYS as in `renew.lua`. ARGV: the version that is known. Answers nothing when it
-- is the present one; otherwise the present one, then edge and address of each. Writes nothing that
-- a full memory refuses.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local gone = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now)
for _, edge in ipairs(gone) do
    redis.call('ZREM', KEYS[1], edge)
    redis.call('HDEL', KEYS[2], edge)
end
if #gone > 0 then
    redis.call('DEL', KEYS[3])
end
local version = redis.call('GET', KEYS[3])
if version and version == ARGV[1] then return {} end
local answer = {version or ''}
for _, edge in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
    local address = redis.call('HGET', KEYS[2], edge)
    if address then
        answer[#answer + 1] = edge
        answer[#answer + 1] = address
    end
end
return answer
