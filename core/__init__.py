"""The product's rules, free of Prefect, S3, HTTP and SQL. Imports nothing, so that `import core.fallbacks` is quick."""
