"""The trained model and its file, without scikit-learn."""
