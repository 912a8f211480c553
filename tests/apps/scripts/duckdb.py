"""SQL in the process."""
import duckdb

connection = duckdb.connect()
print(connection.sql("select i % 3 as k, sum(i) as s from range(100) t(i) group by k order by k").fetchall())
connection.execute("create table t as select 1 as a, 'x' as b")
print(connection.execute("describe t").fetchall())
