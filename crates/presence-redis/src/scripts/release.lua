-- Ends a lease. KEYS as in `renew.lua`. ARGV: edge.
redis.call('ZREM', KEYS[1], ARGV[1])
redis.call('HDEL', KEYS[2], ARGV[1])
-- Without one nobody takes what they know for the newest; the next renewal writes one.
redis.call('DEL', KEYS[3])
return 1
