"""The script in Redis that takes events: into the stream, the users' recent behaviour and seen items, all or none."""

from __future__ import annotations

from serving.users.append_only_file import UNWRITTEN_IN

# KEYS: the stream, the applied offsets, the newcomers, the forgotten users, the explored items; for each event its
# mark, the user's recent behaviour, seen items and profile.
# ARGV: longest stream, seconds of a mark, recent length, seen length; the record's partition, its offset and that of
# the record before it, all empty where there is no Kafka; most newcomers, and how many seconds one is remembered; for
# each event the row, its moment, the entry of recent behaviour and the seen item, the last two empty where the event is
# none, the user, and the item that was shown, likewise.
# Answers how many were new, or why none were taken; the run of Redis that has yet to write them; and of each event 1
# where it was new, else 0, as one text, empty where none were looked at.
# The first thing that the script writes is one that a full Redis refuses: then nothing of it is done.
TAKE = (
    UNWRITTEN_IN
    + """
local function push(key, moment, entry)
  local function time(of) return tonumber(string.match(of, '^%d+') or 0) end
  local last = redis.call('LINDEX', key, -1)
  if not last or time(last) <= moment then
    if redis.call('RPUSH', key, entry) <= tonumber(ARGV[3]) then return end
  else
    for _, other in ipairs(redis.call('LRANGE', key, 0, -1)) do
      if time(other) > moment then
        redis.call('LINSERT', key, 'BEFORE', other, entry)
        break
      end
    end
  end
  redis.call('LTRIM', key, -ARGV[3], -1)
end

local partition = ARGV[5]
if partition ~= '' then
  local applied = tonumber(redis.call('HGET', KEYS[2], partition) or -1)
  if applied >= tonumber(ARGV[6]) then return {0, '', ''} end
  if applied < tonumber(ARGV[7]) then return {-2, '', ''} end
end
local events = (#KEYS - 5) / 4
if redis.call('XLEN', KEYS[1]) + events > tonumber(ARGV[1]) then return {-1, '', ''} end

local now = tonumber(redis.call('TIME')[1])
local forgets = redis.call('EXISTS', KEYS[4]) == 1
local function is_forgotten(user)
  local until_ms = forgets and redis.call('ZSCORE', KEYS[4], user)
  return until_ms and tonumber(until_ms) > now * 1000
end
local room = tonumber(ARGV[8]) - redis.call('ZCOUNT', KEYS[3], now, '+inf')
local fresh = {}
for i = 0, events - 1 do
  local user, keeps = ARGV[6 * i + 14], ARGV[6 * i + 12] ~= '' or ARGV[6 * i + 13] ~= ''
  if keeps and fresh[user] == nil and not is_forgotten(user) then
    fresh[user] = redis.call('EXISTS', KEYS[4 * i + 7], KEYS[4 * i + 8], KEYS[4 * i + 9]) == 0
    if fresh[user] then room = room - 1 end
  end
end
local crowded = room < 0
if crowded and partition == '' then return {-3, '', ''} end

local explores = redis.call('TYPE', KEYS[5]).ok == 'hash'
local function count(what, item)
  if explores and item ~= '' and redis.call('HEXISTS', KEYS[5], what .. item) == 1 then
    redis.call('HINCRBY', KEYS[5], what .. item, 1)
  end
end

local taken, new = 0, {}
for i = 0, events - 1 do
  local row, moment, entry, item = ARGV[6 * i + 10], tonumber(ARGV[6 * i + 11]), ARGV[6 * i + 12], ARGV[6 * i + 13]
  local user, recent, seen = ARGV[6 * i + 14], KEYS[4 * i + 7], KEYS[4 * i + 8]
  new[i + 1] = '0'
  if not is_forgotten(user) and redis.call('SET', KEYS[4 * i + 6], '', 'NX', 'EX', ARGV[2]) then
    redis.call('XADD', KEYS[1], '*', 'event', row)
    count('n:', ARGV[6 * i + 15])
    count('c:', item)
    if (entry ~= '' or item ~= '') and not (crowded and fresh[user]) then
      if entry ~= '' then push(recent, moment, entry) end
      if item ~= '' then
        if redis.call('ZADD', seen, 'GT', moment, item) == 1 then
          redis.call('ZREMRANGEBYRANK', seen, 0, -ARGV[4] - 1)
        end
      end
      if fresh[user] or redis.call('ZSCORE', KEYS[3], user) then
        redis.call('ZADD', KEYS[3], now + ARGV[9], user)
        redis.call('EXPIRE', recent, ARGV[9])
        redis.call('EXPIRE', seen, ARGV[9])
      end
    end
    taken, new[i + 1] = taken + 1, '1'
  end
end
redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', '(' .. now)
if partition ~= '' then redis.call('HSET', KEYS[2], partition, ARGV[6]) end
return {taken, unwritten_in(), table.concat(new)}
"""
)
