-- Takes what a replica has let pass already, also beyond what was there: the debt is waited off,
-- for at most as long as an empty bucket takes to fill.
-- KEYS: the buckets. ARGV: for each the time that was used, positive, or given back, negative,
-- and the time to fill, in microseconds. Answers for each the time until it is full.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local answer = {}
for i, key in ipairs(KEYS) do
  local at = tonumber(redis.call('GET', key) or now)
  if at < now then at = now end
  at = math.min(at + ARGV[2 * i - 1], now + 2 * ARGV[2 * i])
  if at > now then
    redis.call('SET', key, string.format('%.0f', at), 'PX', math.ceil((at - now) / 1000))
  else
    at = now
    redis.call('DEL', key)
  end
  answer[i] = at - now
end
return answer
