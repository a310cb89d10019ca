"""The scikit-learn estimators, one variant per file."""
