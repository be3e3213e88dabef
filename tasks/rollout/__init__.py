"""The rollout for people: the desk that flows, command line and HTTP share, its reports, pages, events and checklists.

Nothing here imports Great Expectations or DuckDB before gates are evaluated: a rollback needs neither.
"""
