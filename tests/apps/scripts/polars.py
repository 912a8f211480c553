"""Lazy frames and their expressions."""
import polars as pl

frame = pl.DataFrame({"city": ["Rome", "Oslo", "Rome"], "t": [9.5, -4.0, 11.0]})
print(frame.lazy().group_by("city").agg(pl.col("t").mean()).sort("city").collect())
print(frame.with_columns((pl.col("t") * 2).alias("u")).write_csv())
print(pl.SQLContext(f=frame).execute("select max(t) as m from f").collect().item())
