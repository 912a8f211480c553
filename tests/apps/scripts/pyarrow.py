"""Tables, computing, and Parquet: large libraries beside the package's modules."""
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

table = pa.table({"k": ["a", "b", "a"], "v": [1, 2, 3]})
print(table.group_by("k").aggregate([("v", "sum")]).sort_by("k").to_pydict())
pq.write_table(table, "t.parquet", compression="zstd")
print(pq.read_table("t.parquet").equals(table), pc.mean(table["v"]).as_py())
