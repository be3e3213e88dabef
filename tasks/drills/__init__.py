"""The failure drill: each failure that the rollout guide names, made to happen, far from anything that serves.

`scenarios` has the failures and what must come of each. `bench` is the place where one is played: a home, a state and a
ledger of its own. `child` plays each scenario in a process of its own. `report` holds the results, and keeps them.
"""
