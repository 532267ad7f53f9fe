"""`pagoda ui`: the console, as pages for a browser on this machine."""

from __future__ import annotations

import getpass
from typing import Annotated

import typer

from pagoda.access.roles import ROLES
from pagoda.cli.options import HomeOption

app = typer.Typer()


@app.command()
def ui(
    *,
    port: Annotated[int, typer.Option(min=0, max=65535, help="On 127.0.0.1; 0: any that is free.")] = 0,
    role: Annotated[
        list[str] | None, typer.Option(help=f"What who comes in may do: {', '.join(ROLES)} [all]. Again for several.")
    ] = None,
    browser: Annotated[bool, typer.Option("--browser", help="Open it in this machine's browser.")] = False,
    home: HomeOption = None,
) -> None:
    """Serve the console until Ctrl-C, and print an address that opens it once, within five minutes."""
    import webbrowser

    from pagoda.errors import ConfigError
    from pagoda.settings import load_settings
    from serving.console.people import Person
    from serving.console.server import invitations_of, serve
    from serving.process import listen

    roles = frozenset(one for one in ROLES if not role or one in role)
    if unknown := sorted({*(role or ())} - {*ROLES}):
        raise ConfigError(f"--role {unknown[0]}: there are {', '.join(ROLES)}")
    settings = load_settings(home)
    try:
        listener = listen("127.0.0.1", port)
    except OSError as error:
        raise ConfigError(f"--port {port}: cannot be listened at ({error.strerror}); choose another one") from error
    with listener:
        token = invitations_of(settings).invite(Person(getpass.getuser(), roles))
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/login?token={token}"

        def tell() -> None:
            typer.echo(f"The console is at {url}\nThe address opens it once, within five minutes. Ctrl-C ends it.")
            if browser:
                webbrowser.open(url)

        serve(settings, listener, tell)
