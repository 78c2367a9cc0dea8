-- SPDX-License-Identifier: MIT
-- Work for sqlite3: fill, index, join, aggregate, update.
CREATE TABLE t(id INTEGER PRIMARY KEY, a INTEGER, b TEXT);
WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < 20000)
INSERT INTO t SELECT x, (x * 7919) % 1009, 'text ' || (x % 97) FROM c;
CREATE INDEX ia ON t(a);
SELECT a, count(*), max(b) FROM t GROUP BY a ORDER BY 2 DESC LIMIT 5;
SELECT count(*) FROM t x JOIN t y ON x.a = y.a WHERE x.id < 2000;
UPDATE t SET b = b || '!' WHERE a % 3 = 0;
SELECT count(*) FROM t WHERE b LIKE '%9!';
DELETE FROM t WHERE id % 5 = 0;
SELECT sum(a), min(b) FROM t;
