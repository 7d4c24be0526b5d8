-- Takes one from each of several buckets, or from none when one of them refuses.
-- KEYS: the buckets. ARGV: for each the time for one and the time to fill, in microseconds.
-- Answers which bucket refused (0 for none), then for each the time until it is full.
-- The clock is the server's, so that replicas whose clocks differ cannot lock anybody out.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local full, refused = {}, 0
for i, key in ipairs(KEYS) do
  local at = tonumber(redis.call('GET', key) or now)
  if at < now then at = now end
  full[i] = at
  if refused == 0 and at + ARGV[2 * i - 1] - now > tonumber(ARGV[2 * i]) then refused = i end
end
local answer = { refused }
for i, key in ipairs(KEYS) do
  if refused == 0 then
    full[i] = full[i] + ARGV[2 * i - 1]
    local ttl = math.ceil((full[i] - now) / 1000)
    redis.call('SET', key, string.format('%.0f', full[i]), 'PX', ttl)
  end
  answer[i + 1] = full[i] - now
end
return answer
