"""The compiled engine, its threads, and the limits of this machine."""
