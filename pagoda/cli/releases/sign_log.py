"""`pagoda sign-log`: what a log held before its installation had a key counts as signed."""

from __future__ import annotations

import typer
from rich.console import Console

from pagoda.cli.options import HomeOption

app = typer.Typer()


@app.command("sign-log")
def sign_log(home: HomeOption = None) -> None:
    """Sign the release log and the item log, once, with nothing running that writes them: look at what they say first.

    Where the log lies in home, the key is made as well; elsewhere it is PAGODA_REGISTRY__SIGNING_KEY.
    """
    from pagoda.generations.release_log import sign_log
    from pagoda.item_changes.log import sign_item_log
    from pagoda.settings import SIGNING_KEY_FILE, load_settings
    from pagoda.standalone.signing_key import make_signing_key

    settings = load_settings(home)
    if not settings.registry.log and not settings.signing_key:
        make_signing_key(settings.home / SIGNING_KEY_FILE)
    released, items = sign_log(settings), sign_item_log(settings)
    Console().print(f"Signed {released:,} records of the release log and {items:,} of the item log.")
