-- What tells whether a server still has what was written. KEYS: the witness. ARGV: seconds to keep
-- it. Answers a value that stays until it is lost.
local present = redis.call('GET', KEYS[1])
if not present then
    local time = redis.call('TIME')
    present = time[1] .. '.' .. time[2]
    redis.call('SET', KEYS[1], present)
end
redis.call('EXPIRE', KEYS[1], ARGV[1])
return present
