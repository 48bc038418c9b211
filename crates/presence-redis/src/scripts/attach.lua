-- Writes routes of one user. KEYS: its routes. ARGV: seconds to keep them, then device and place of
-- each: edge and generation, 8 bytes big-endian each. Kept is the place and when it was written,
-- 4 bytes of seconds.
local now = tonumber(redis.call('TIME')[1])
local kept = tonumber(ARGV[1])
-- Lua's numbers hold 53 bits: a generation is compared in two halves.
local function generation(place)
    local _, _, high, low = struct.unpack('>I4I4I4I4', place)
    return high, low
end
for i = 2, #ARGV, 2 do
    local newest = true
    local present = redis.call('HGET', KEYS[1], ARGV[i])
    if present then
        local high, low = generation(present)
        local new_high, new_low = generation(ARGV[i + 1])
        newest = new_high > high or (new_high == high and new_low >= low)
    end
    if newest then
        redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1] .. struct.pack('>I4', now))
    end
end
-- Devices that nobody wrote for as long leave with others of their user.
if redis.call('HLEN', KEYS[1]) > (#ARGV - 1) / 2 then
    local all = redis.call('HGETALL', KEYS[1])
    for i = 1, #all, 2 do
        if struct.unpack('>I4', all[i + 1], 17) + kept < now then
            redis.call('HDEL', KEYS[1], all[i])
        end
    end
end
redis.call('EXPIRE', KEYS[1], kept)
return 1
