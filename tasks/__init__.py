"""Prefect tasks: one stage each, about ten lines, all of them through `materialize`."""
