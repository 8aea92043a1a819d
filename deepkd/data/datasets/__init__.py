"""Data set layouts, one file each; `settings.choices.LAYOUTS` lists them."""
