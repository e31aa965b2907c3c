"""The billing tables in Postgres: their schema, what they last said, and the writing of a plan."""
