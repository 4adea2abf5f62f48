-- SPDX-License-Identifier: Apache-2.0
-- What wrk asks a server of Fashion-MNIST, and what it tells in the end, as JSON:
--   wrk OPTION... -s ask.lua http://ADDRESS/v2/models/MODEL/infer -- IMAGES
-- Each request takes one of IMAGES (784 bytes each) at random and asks for its label,
-- both in binary. All clients of all runs draw the same sequence.
local head = '{"outputs":[{"name":"label"}],"inputs":[{"name":"input","datatype":"UINT8",' ..
  '"shape":[1,1,28,28],"parameters":{"binary_data_size":784}}]}'
local images

function init(arguments)
  local file = assert(io.open(arguments[1], "rb"))
  images = file:read("*a")
  file:close()
  wrk.method = "POST"
  wrk.headers["Inference-Header-Content-Length"] = tostring(#head)
end

function request()
  local at = math.random(0, #images / 784 - 1) * 784
  return wrk.format(nil, nil, nil, head .. images:sub(at + 1, at + 784))
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '{"requests": %d, "seconds": %.6f, "p50_us": %d, "p99_us": %d, "refused": %d, "lost": %d}\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50), latency:percentile(99),
    errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end
