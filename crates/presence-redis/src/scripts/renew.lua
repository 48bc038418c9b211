-- Holds a lease. KEYS: until when (sorted set, ms), addresses (hash), version of the set of leases.
-- ARGV: edge, milliseconds to hold it, address, seconds to keep the keys. Answers 1 if it was held.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local gone = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now)
for _, edge in ipairs(gone) do
    redis.call('ZREM', KEYS[1], edge)
    redis.call('HDEL', KEYS[2], edge)
end
local held = redis.call('ZSCORE', KEYS[1], ARGV[1])
local address = redis.call('HGET', KEYS[2], ARGV[1])
redis.call('ZADD', KEYS[1], now + tonumber(ARGV[2]), ARGV[1])
if #gone > 0 or not held or address ~= ARGV[3] or redis.call('EXISTS', KEYS[3]) == 0 then
    redis.call('HSET', KEYS[2], ARGV[1], ARGV[3])
    -- Never one that was used before, also after everything was lost.
    redis.call('SET', KEYS[3], time[1] .. '.' .. time[2] .. '.' .. ARGV[1])
end
for _, key in ipairs(KEYS) do
    redis.call('EXPIRE', key, ARGV[4])
end
if held and address then return 1 end
return 0
