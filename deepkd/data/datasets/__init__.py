"""Data set layouts: `LAYOUTS` lists them, each in a file of its own here.

A new layout is one file with a `Layout` and one line in `LAYOUTS`. Settings read the names from
here, so this module imports nothing.
"""

LAYOUTS = {
    "faceforensics": "deepkd.data.datasets.faceforensics:FACEFORENSICS",
    "celeb-df": "deepkd.data.datasets.celeb_df:CELEB_DF",
    "dfdc": "deepkd.data.datasets.dfdc:DFDC",
    "folder": "deepkd.data.datasets.folders:FOLDER",
}
"""Name -> module:attribute of its `Layout`, in the order in which `auto` tries them. `folder` fits
every folder and comes last."""
