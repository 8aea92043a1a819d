"""Lets `python -m deepkd` do what `deepkd` does."""

from deepkd.imports import leave_working_folder

if __name__ == "__main__":
    leave_working_folder()  # before a module is looked for there
    from deepkd.cli.start import main

    main()
