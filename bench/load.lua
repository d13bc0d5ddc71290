-- What wrk sends. Environment: BODY is the request's body, in which every @N@ becomes a number below COUNT; KEY is
-- the API key; ROUTE the path; without BODY it is a GET. With RATE all connections together ask so often a second, each
-- when its turn comes, and not as soon as they are answered. The last line of the output is read by run.py.
local body, count = os.getenv("BODY"), tonumber(os.getenv("COUNT"))
wrk.path = os.getenv("ROUTE")
wrk.headers["apiKey"] = os.getenv("KEY")
if body then
  wrk.method = "POST"
  wrk.body = body
  wrk.headers["Content-Type"] = "application/json"
end

if body and body:find("@N@", 1, true) then
  request = function()
    return wrk.format(nil, nil, nil, (body:gsub("@N@", math.random(0, count - 1))))
  end
end

local rate = tonumber(os.getenv("RATE"))
if rate then
  local ffi = require("ffi")
  ffi.cdef("typedef struct { long seconds, nanoseconds; } moment; int clock_gettime(int, moment *);")
  local moment, turn = ffi.new("moment"), 0
  delay = function()
    ffi.C.clock_gettime(1, moment)
    local now = tonumber(moment.seconds) * 1000 + tonumber(moment.nanoseconds) / 1e6
    turn = math.max(turn + 1000 / rate, now)
    return turn - now
  end
end

done = function(summary, latency)
  local failed = summary.errors
  io.write(string.format("RESULT %d %f %d %d %d\n", summary.requests, summary.duration / 1e6,
    latency:percentile(50), latency:percentile(99),
    failed.connect + failed.read + failed.write + failed.status + failed.timeout))
end
