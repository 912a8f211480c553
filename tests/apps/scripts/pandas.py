"""Frames: CSV in and out, groups, time series and a pivot."""
import io

import pandas as pd

frame = pd.read_csv(io.StringIO("day,city,t\n2024-01-01,Rome,9.5\n2024-01-01,Oslo,-4\n2024-01-02,Rome,11\n"), parse_dates=["day"])
print(frame.groupby("city")["t"].agg(["mean", "max"]).to_string())
print(frame.pivot_table(index="day", columns="city", values="t").to_csv())
print(pd.date_range("2024-02-27", periods=3, tz="Europe/Rome").astype(str).tolist())
print(frame.dtypes.astype(str).to_dict())
