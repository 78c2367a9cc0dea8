-- SPDX-License-Identifier: MIT
-- Work for luajit: loops that its compiler takes; with "flush" they are compiled again and again.
local flush = arg[1] == "flush"

local function kernel(n, a)
	local x, t = a, {}
	for i = 1, n do
		x = (x * 1103515245 + 12345) % 2147483648
		t[i % 64] = x
		if x % 3 == 0 then x = x + (t[(i + 7) % 64] or 0) end
	end
	return x
end

local sum = 0
for round = 1, flush and 150 or 3 do
	sum = sum + kernel(flush and 500 or 1000000, round)
	if flush then jit.flush() end
end
print(sum)
