"""`deepkd serve`: a review desk in the browser."""

from deepkd.cli.options import ConfigFile, takes_settings
from deepkd.config import load_config
from deepkd.settings.serve import ServeConfig


@takes_settings(ServeConfig)
def serve(*, config_file: ConfigFile = None, **settings: object) -> None:
    r"""Open a review desk: drop clips on a page, read the evidence, write down what you decided.

    Clips, verdicts and decisions stay in the folder --store. Ctrl-C ends the server; clips that
    wait are judged at the next start.

    Needs `pip install 'deepkd\[serve]'`.
    """
    config = load_config(ServeConfig, config_file, **settings)
    from deepkd.cli.progress import say, warn
    from deepkd.serve.app import serve as run

    if config.token:
        warn("the token and clips cross the network in the clear, unless a proxy encrypts them")
    run(config, lambda address: say(f"The desk is open: {address}"))
