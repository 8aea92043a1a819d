"""Serve: a review desk in the browser, on the machine of those who judge. Never imports torch.

upload -> store (a folder, one SQLite file) -> judging (worker processes) -> api and pages
"""
