"""The settings of every command, by what they are for. Light on purpose: `--help` reads them and nothing heavier."""
