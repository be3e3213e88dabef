"""Thin Prefect tasks, the settings, and the one place where adapters are wired."""
