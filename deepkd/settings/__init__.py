"""The settings of every command. They import nothing heavy, so that `--help` is quick."""
