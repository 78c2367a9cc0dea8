# SPDX-License-Identifier: MIT
# Work for python3: objects, dictionaries, strings, floating point.
class Point:
    def __init__(self, x, y):
        self.x, self.y = x, y

    def moved(self, d):
        return Point(self.x + d, self.y - d * 0.5)


def primes(n):
    found = []
    for i in range(2, n):
        if all(i % p for p in found if p * p <= i):
            found.append(i)
    return found


p = Point(0, 0)
for i in range(40000):
    p = p.moved(i & 7)
words = {}
for i in range(40000):
    key = "k%d" % (i * 7919 % 1013)
    words[key] = words.get(key, 0) + 1
print(p.x, p.y, len(primes(1500)), sorted(words.items())[:5], sum(x * x for x in range(50000)))
