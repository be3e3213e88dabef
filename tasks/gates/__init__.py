"""The gates of the rollout: what data must say before the next step may begin. docs/gates.md describes each of them."""
