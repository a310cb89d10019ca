"""Columns of a table: their kinds, and how they become numbers and values again."""
