"""The rollout: from nobody to everybody in steps, on evidence, and back at once.

`plan` has the steps as data, `verdict` and `gates` what checks say about them. `event` and `state` are what is stored;
`transitions` are the rules, pure; `reasons` says why a rollout stays where it is. `orders` carries orders out in the
shared state. Everything but `orders` is pure.
"""
