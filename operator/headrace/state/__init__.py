"""Postgres: the SQL, one module for each noun."""
