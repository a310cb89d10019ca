"""Scoring of Arrow batches, and evaluation against labels."""
