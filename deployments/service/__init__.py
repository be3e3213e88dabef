"""REDO over HTTP: flags, health, metrics, and answers with citations. docs/http.md describes every endpoint.

`app` puts the endpoints together from what it is given, and `wired` gives it what this process is configured to have.
"""
