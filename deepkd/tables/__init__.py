"""Figures for people and programs: tables, CSV, JSON, Markdown and plots."""
