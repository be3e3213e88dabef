"""Traces as Parquet: schema, object stores, and DuckDB views."""
