-- One token per request, from the file named by the first argument; each wrk thread (their number is the second)
-- takes its own share. The third is the method, the fourth, where it is given, a folder of ETags, one for each token.
local counter = 0
function setup(thread)
  thread:set("id", counter)
  counter = counter + 1
end

function init(args)
  tokens = {}
  local number = 0
  for line in io.lines(args[1]) do
    if number % tonumber(args[2]) == id then tokens[#tokens + 1] = line end
    number = number + 1
  end
  next_token = 0
  method = args[3]
  etag = args[4]
end

function request()
  next_token = next_token % #tokens + 1
  local headers = { ["Authorization"] = "Bearer " .. tokens[next_token] }
  if etag then headers["If-None-Match"] = etag end
  return wrk.format(method, nil, headers)
end
