"""Measuring models: how right, how fast, how large."""
