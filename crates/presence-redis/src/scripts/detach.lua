-- Deletes routes of one user that are of the generation given. KEYS: its routes. ARGV: device and
-- place of each, as `attach.lua` takes them.
for i = 1, #ARGV, 2 do
    local present = redis.call('HGET', KEYS[1], ARGV[i])
    if present and string.sub(present, 9, 16) == string.sub(ARGV[i + 1], 9, 16) then
        redis.call('HDEL', KEYS[1], ARGV[i])
    end
end
return 1
