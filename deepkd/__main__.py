"""Lets `python -m deepkd` do what `deepkd` does."""

from deepkd.cli.start import main

if __name__ == "__main__":
    main()
